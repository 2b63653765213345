"""Seeded inputs: from what a check gives to the numbers that every subject receives.

Each case draws from a stream of its own, seeded with the run's seed and the case's name, by Python's `random` alone:
the same in every process, in every order, on every platform. Shapes are in the letters of `observables`.
"""

import itertools
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from harness import expressions
from harness.givens import Given
from harness.observables import OBSERVABLES
from reference.recipe import GPT1, GPT2, MICROGPT

PROBES: dict[str, str] = {
    "default": "C 16, H 4, L 1, B 16, V 27, weights of std 0.08, T 8; vectors: normal",
    "stress": "all sizes distinct: C 12, H 3, D 4, L 2, B 7, V 14, weights of std 0.5, T 6; documents with repeated "
    "tokens, with token 0 as a target, longer than B, and of a single letter",
    "small": "C 4, H 2, L 2, B 7, V 9, weights of std 0.5, T 6: where only the way of the numbers matters",
    "attention-only": "as stress, but mlp_fc2 is zero: the perceptron adds nothing, attention alone is on trial",
    "gpt2": "the sizes of stress with GPT-2's parameters, biases and gains included, all of std 0.5",
    "gpt1": "the same for GPT-1",
    "offset": "vectors whose mean is three standard deviations away from zero",
    "sparse": "vectors with one element in four, the others zero",
    "gaps": "scores from -1000 to 1000: beyond what exp can hold",
}

_SIZES = {
    "default": {"vocab_size": 27, "n_embd": 16, "n_head": 4, "n_layer": 1, "block_size": 16},
    "stress": {"vocab_size": 14, "n_embd": 12, "n_head": 3, "n_layer": 2, "block_size": 7},
}
_SIZES["small"] = {"vocab_size": 9, "n_embd": 4, "n_head": 2, "n_layer": 2, "block_size": 7}
for _name in ("attention-only", "gpt2", "gpt1"):
    _SIZES[_name] = _SIZES["stress"]
_STD = {"default": 0.08, "stress": 0.5, "attention-only": 0.5, "gpt2": 0.5, "gpt1": 0.5, "small": 0.5}
_LENGTH = {"default": 8, "stress": 6, "attention-only": 6, "gpt2": 6, "gpt1": 6, "small": 6}
_LENGTHS = {
    "default": [8],
    "stress": [9, 2, 5],
    "attention-only": [5, 2],
    "gpt2": [9, 2, 5],
    "gpt1": [9, 2, 5],
    "small": [9, 2, 5],
}
MOST_CASES = 10_000  # of a check
ONE_CASE = ("lengths",)  # a list of these is one case, and not a case for each item
_RECIPES = {"gpt2": GPT2, "gpt1": GPT1}


@dataclass(frozen=True)
class Case:
    """One set of inputs, with the name under which a report shows it."""

    name: str
    inputs: dict[str, Any]


def cases(observable: str, given: Given, seed: int) -> list[Case]:
    """Every combination of what is given, times its seeds."""
    return [
        Case(name, _DRAW[observable](choice, random.Random(f"{seed}/{observable}/{name}")))  # noqa: S311
        for name, choice in _combinations(given)
    ]


def refuse_impossible(given: Given) -> None:
    """Raise ValueError, with the sizes in words, where a combination of what is given cannot be built."""
    if count(given) > MOST_CASES:
        raise ValueError(f"{count(given):,} cases are more than the {MOST_CASES:,} that a check may have")
    for choice in _choices(given):
        if choice.get("steps", 0) > choice.get("num_steps", 1000):
            raise ValueError(f"{choice['steps']} steps are more than the schedule's {choice['num_steps']}")
        if "n_head" not in choice:
            continue
        sizes = _sizes(choice)
        if sizes["n_embd"] % sizes["n_head"]:
            raise ValueError(f"{sizes['n_head']} heads do not divide the probe's n_embd of {sizes['n_embd']}")
        longest = min(sizes["block_size"], sizes["vocab_size"] - 1)
        if (choice.get("length") or 1) > longest:
            raise ValueError(f"length {choice['length']} does not fit: this probe takes at most {longest}")


def count(given: Given) -> int:
    """How many cases there are, without making them."""
    return math.prod(map(len, _lists(given).values())) * given.seeds


def _lists(given: Given) -> dict[str, list[Any]]:
    """What takes more than one value, by name."""
    fields = given.model_dump(exclude={"seeds", *ONE_CASE})
    return {name: value for name, value in fields.items() if isinstance(value, list)}


def _choices(given: Given) -> Iterator[dict[str, Any]]:
    """Every combination of what is given, with one value for each name."""
    fields, lists = given.model_dump(exclude={"seeds"}), _lists(given)
    for choice in itertools.product(*lists.values()):
        yield fields | dict(zip(lists, choice, strict=True))


def _combinations(given: Given) -> Iterator[tuple[str, dict[str, Any]]]:
    """A name and a plain dictionary for each combination; the name holds what varies, and the seed."""
    lists = _lists(given)
    # A change that is made after the draw (itself against its shifted self) must not change the draw.
    drawn = sorted(given.model_fields_set - _AFTER_THE_DRAW - lists.keys() - {"seeds"})
    for choice in _choices(given):
        parts = [f"{name} {choice[name]}" for name in (*lists, *drawn)]
        for number in range(given.seeds):
            yield ", ".join([*parts, f"seed {number}"]).replace("[", "").replace("]", ""), choice


_AFTER_THE_DRAW = {"times", "shift", "attention", "order", "feed", "change", "norm", "output"}

Choice = dict[str, Any]
Stream = random.Random


def _vector(choice: Choice, stream: Stream) -> dict[str, Any]:
    width, scale = choice["width"], choice["scales"]
    x = [stream.gauss(0, scale) for _ in range(width)]
    if choice["probe"] == "offset":
        x = [xi + 3 * scale for xi in x]
    elif choice["probe"] == "sparse":
        x = [xi if i % 4 == 0 else 0.0 for i, xi in enumerate(x)]
    elif choice["probe"] == "gaps":
        x = [stream.uniform(-1000, 1000) for _ in range(width)]
    return {"x": [xi * choice["times"] + choice["shift"] for xi in x]}


def _normal(stream: Stream, *shape: int, std: float = 1.0) -> Any:
    if not shape:
        return stream.gauss(0, std)
    return [_normal(stream, *shape[1:], std=std) for _ in range(shape[0])]


def _matrix(choice: Choice, stream: Stream) -> dict[str, Any]:
    return {"x": _normal(stream, choice["n_in"]), "w": _normal(stream, choice["n_out"], choice["n_in"])}


def _sizes(choice: Choice) -> dict[str, int]:
    asked = {name: choice[name] for name in ("n_layer", "n_head") if choice.get(name)}
    return _SIZES[choice["probe"]] | asked


def _model(choice: Choice, stream: Stream) -> dict[str, Any]:
    sizes = _sizes(choice)
    std = _STD[choice["probe"]]
    shapes = _RECIPES.get(choice["probe"], MICROGPT).edited(sizes).parameter_shapes()
    weights = {name: _normal(stream, *shape, std=std) for name, shape in shapes.items()}
    if choice["probe"] == "attention-only":
        weights |= {name: _normal(stream, *shapes[name], std=0.0) for name in shapes if name.endswith("mlp_fc2")}
    return {"sizes": sizes, "weights": weights, "norm": choice.get("norm", "own")}


def _one_document(choice: Choice, stream: Stream) -> dict[str, Any]:
    """A model and one document of T + 1 distinct tokens."""
    inputs = _model(choice, stream)
    length = choice["length"] or _LENGTH[choice["probe"]]
    vocab = inputs["sizes"]["vocab_size"]
    inputs["tokens"] = [vocab - 1, *stream.sample(range(vocab - 1), length)]
    return inputs


def _logits(choice: Choice, stream: Stream) -> dict[str, Any]:
    options = {name: choice[name] for name in ("attention", "order", "feed")}
    return _one_document(choice, stream) | options


def _future(choice: Choice, stream: Stream) -> dict[str, Any]:
    return _one_document(choice, stream) | {"change": choice["change"]}


def _attention(choice: Choice, stream: Stream) -> dict[str, Any]:
    inputs = _one_document(choice, stream)
    shape = (inputs["sizes"]["n_layer"], len(inputs["tokens"]) - 1, inputs["sizes"]["n_embd"])
    return inputs | {name: _normal(stream, *shape) for name in ("q", "k", "v", "cotangent")}


def _documents(choice: Choice, stream: Stream) -> dict[str, Any]:
    """A model and documents that repeat tokens; the first has token 0 as a target."""
    inputs = _model(choice, stream)
    bos = inputs["sizes"]["vocab_size"] - 1
    lengths = choice["lengths"] or _LENGTHS[choice["probe"]]
    inputs["documents"] = [[bos, *(stream.randrange(bos // 2) for _ in range(n - 1)), bos] for n in lengths]
    if lengths[0] > 2:
        inputs["documents"][0][1:3] = [0, 0]
    return inputs


def _gradients(choice: Choice, stream: Stream) -> dict[str, Any]:
    component, width = choice["component"], choice["width"]
    if component == "loss":
        return _documents(choice, stream) | {"component": component, "attention": choice["attention"]}
    inputs = {"component": component, "x": _normal(stream, width, std=choice["scale"])}
    if component == "linear":
        inputs["w"] = _normal(stream, 12, width)
    return inputs | {"cotangent": _normal(stream, 12 if component == "linear" else width)}


def _adam(choice: Choice, stream: Stream) -> dict[str, Any]:
    steps, size = choice["steps"], choice["size"]
    magnitude = {"normal": 1.0, "tiny": 1e-12, "huge": 1e6, "zero": 0.0, "sign-flipping": 1.0, "sparse": 1.0}[
        choice["regime"]
    ]
    gradients = [[magnitude * stream.gauss(0, 1) for _ in range(size)] for _ in range(steps)]
    if choice["regime"] == "sign-flipping":
        gradients = [[(-1) ** k * abs(g) for g in row] for k, row in enumerate(gradients)]
    elif choice["regime"] == "sparse":
        gradients = [[g if stream.random() < 0.5 else 0.0 for g in row] for row in gradients]
    arbitrary = choice["start"] == "arbitrary"
    inputs = {
        "parameters": _normal(stream, size, std=0.08),
        "gradients": gradients,
        "learning_rates": [0.01 * (1 - k / (steps + 1)) for k in range(steps)],
        "m": _normal(stream, size) if arbitrary else [0.0] * size,
        "v": [abs(x) for x in _normal(stream, size)] if arbitrary else [0.0] * size,
        "first_step": stream.randrange(1, 50) if arbitrary else 0,
    }
    if choice["hyperparameters"] == "given":
        inputs["hyperparameters"] = {"beta1": stream.random(), "beta2": stream.random(), "eps": 1e-8 * stream.random()}
    return inputs


def _head(choice: Choice, stream: Stream) -> dict[str, Any]:
    return _model(choice | {"norm": "plain"}, stream) | {"x": _normal(stream, _sizes(choice)["n_embd"])}


def _dependencies(choice: Choice, stream: Stream) -> dict[str, Any]:
    if choice["output"] == "rms_norm":
        return {"x": _normal(stream, choice["width"]), "output": choice["output"]}
    return _one_document(choice, stream) | {"output": choice["output"]}


def _tokens(choice: Choice, stream: Stream) -> dict[str, Any]:
    lengths = [stream.randrange(1, 9) for _ in range(choice["documents"])]
    return {"documents": ["".join(stream.choices("zebraquilt", k=n)) for n in lengths]}


def _text(choice: Choice, stream: Stream) -> dict[str, Any]:
    """Documents that differ, some with blanks around them, and blank lines between."""
    names = {"".join(stream.choices("zebraquilt", k=6)): None for _ in range(choice["documents"])}
    lines = [stream.choice(("", " ", "\t")) + name + stream.choice(("", "  ", "\r")) for name in names]
    blank = [stream.choice(("", "  ")) for _ in range(3)]
    return {"text": "\n".join([*lines[:2], blank[0], *lines[2:], *blank[1:]]), "seed": stream.randrange(1 << 30)}


def _training(choice: Choice, stream: Stream) -> dict[str, Any]:
    return _documents(choice, stream) | {"steps": choice["steps"], "num_steps": choice["num_steps"]}


def _schedule(choice: Choice, stream: Stream) -> dict[str, Any]:
    return _model(choice, stream) | {"tokens": [0, 1, 0, 2], "num_steps": choice["num_steps"]}


def _samples(choice: Choice, stream: Stream) -> dict[str, Any]:
    more = {"samples": choice["samples"], "temperature": choice["temperature"], "seed": stream.randrange(1 << 30)}
    return _model(choice, stream) | more


def _scripts(choice: Choice, stream: Stream) -> dict[str, Any]:
    """Three scripts of B certain tokens: BOS first, BOS on the way, no BOS at all."""
    sizes = _sizes(choice)
    block, bos = sizes["block_size"], sizes["vocab_size"] - 1
    scripts = [[stream.randrange(bos) for _ in range(block)] for _ in range(3)]
    scripts[0][0] = scripts[1][stream.randrange(1, block - 1)] = bos
    return {"sizes": sizes, "scripts": scripts, "temperature": choice["temperature"]}


def _activation(choice: Choice, stream: Stream) -> dict[str, Any]:
    """Numbers up to 8 on both sides; with 0, and where GELU is furthest from ReLU and from its own tanh form."""
    inputs = _model(choice | {"norm": "plain"}, stream)
    x = [0.0, 8.0, -8.0, 0.75, -0.75, 2.699, -2.699, 1e-6, -1e-6]
    x += [stream.uniform(-8, 8) for _ in range(4 * inputs["sizes"]["n_embd"] - len(x))]
    return inputs | {"x": x, "layer": stream.randrange(inputs["sizes"]["n_layer"])}


_DRAW: dict[str, Callable[[Choice, Stream], dict[str, Any]]] = {
    "tokens": _tokens,
    "rms_norm": _vector,
    "softmax": _vector,
    "linear": _matrix,
    "attention": _attention,
    "logits": _logits,
    "gradients": _gradients,
    "attention_widths": _one_document,
    "cache_lengths": _documents,
    "dependencies": _dependencies,
    "future_influence": _future,
    "past_influence": _one_document,
    "past_gradients": _one_document,
    "adam": _adam,
    "first_update": lambda choice, stream: _adam(choice | {"steps": 1, "start": "zero"}, stream),
    "optimizer_start": lambda choice, stream: _model(choice, stream) | {"tokens": [0, 1, 0, 2]},
    "parameters": lambda choice, _stream: {"sizes": _sizes(choice)},
    "hyperparameters": lambda _choice, _stream: {},
    "imports": lambda _choice, _stream: {},
    "interpreter": lambda _choice, _stream: {},
    "documents": _text,
    "expressions": lambda choice, stream: expressions.draw(stream, choice["operations"]),
    "training": _training,
    "learning_rate": _schedule,
    "samples": _samples,
    "generation": _scripts,
    "repeatability": _one_document,
    "activation": _activation,
    "norm_calls": _one_document,
    "stream_start": _one_document,
    "head": _head,
    "shared_parameters": lambda choice, _stream: {"sizes": _sizes(choice)},
    "stages": _one_document,
    "norm_distances": _one_document,
    "position_gradients": _one_document,
    "influence_gradients": _one_document,
    "copy_loss": lambda choice, stream: {"steps": choice["steps"], "seed": stream.randrange(1 << 30)},
    "attention_probabilities": _one_document,
    "causal_mask": _one_document,
    "conv1d": lambda choice, stream: _model(choice, stream) | {"x": _normal(stream, 4 * _sizes(choice)["n_embd"])},
    "dropout": _one_document,
    "edit_distances": _one_document,
    "gpt2_config": lambda _choice, _stream: {},
    "beyond_positions": _model,
}

assert _DRAW.keys() == OBSERVABLES.keys()  # noqa: S101 - one way to draw for each declared observable
