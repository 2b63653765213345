"""Compare microgpt.py with the figures recorded from the original script on its own data.

    python tests/microgpt/figures.py FILE

FILE is the original's list of 32,033 names. Where every figure is reproduced to the last bit, microgpt/figures.json
gets the file's sha256, and reports say of that very file that it speaks for the original.
"""

import hashlib
import json
import math
import random
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from microgpt import microgpt  # noqa: E402 - found through the line above

FIGURES = ROOT / "microgpt" / "figures.json"
RECORDED = {
    "first documents": ["yuheng", "diondre", "xavien"],
    "first losses": [3.3659669475848504, 3.4242727838717717, 3.177802125458052],
    "sum of parameters after five steps": 3.405614730911842,
}


def measure(names: Path) -> dict[str, object]:
    """The same figures, from microgpt.py: five of 1000 steps with seed 42."""
    rng = random.Random(microgpt.SEED)
    documents = microgpt.load_documents(names, rng)
    tokenizer = microgpt.Tokenizer(documents)
    config = microgpt.Config(tokenizer.vocab_size)
    state_dict = microgpt.init_state_dict(config, rng)
    tokenized = [tokenizer.encode(document) for document in documents]
    steps = microgpt.train(state_dict, config, tokenized, microgpt.NUM_STEPS)
    losses = [next(steps)[1] for _ in range(5)]
    return {
        "first documents": documents[:3],
        "first losses": losses[:3],
        "sum of parameters after five steps": math.fsum(p.data for p in microgpt.flatten(state_dict)),
    }


def digest() -> str:
    """The sha256 of microgpt.py."""
    return hashlib.sha256((ROOT / "microgpt" / "microgpt.py").read_bytes()).hexdigest()


def main() -> None:
    """Measure, compare, write."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        sys.exit("figures: give the original's data file, one name a line: make figures NAMES=FILE")
    found = measure(Path(sys.argv[1]))
    if found != RECORDED:
        sys.exit(f"figures: microgpt.py does not reproduce the original.\nfound:    {found}\nrecorded: {RECORDED}")
    text = json.dumps({"what": "the original's figures, reproduced by", "sha256": digest(), **RECORDED}, indent=1)
    FIGURES.write_text(text + "\n", encoding="utf-8")
    print(f"{FIGURES.relative_to(ROOT)}: all figures reproduced")


if __name__ == "__main__":
    main()
