"""The committed log is what today's run writes, with the pinned versions."""

import json
import re
from importlib import metadata
from pathlib import Path

import pytest

from harness import results
from harness.render import markdown

ROOT = Path(__file__).resolve().parent.parent
PINNED = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE))
DEPARTS = [
    f"{name} {metadata.version(name)} is not the pinned {PINNED[name]}"
    for name in ("torch", "transformers")
    if metadata.version(name).split("+")[0] != PINNED[name]
]


@pytest.mark.skipif(bool(DEPARTS), reason="; ".join(DEPARTS) or "as pinned")
def test_the_committed_log_is_current(own_run):
    report = results.load((own_run.folder / "results.json").read_text(encoding="utf-8"))
    committed = (ROOT / "reports" / "verification-log.md").read_text(encoding="utf-8")
    assert markdown.render(report) == committed, "run: python -m harness run claims/, and commit reports/"
    assert (own_run.folder / "verification-log.md").read_text(encoding="utf-8") == committed


def test_the_log_has_every_section_with_claim_verdict_and_evidence(own_run):
    text = (own_run.folder / "verification-log.md").read_text(encoding="utf-8")
    for claim in own_run.report["claims"]:
        assert f"**Claim.** {claim['claim']}" in text
        for check in claim["checks"]:
            assert f"| `{check['id']}` |" in text
    assert text.count("**Verdict: ") == len(own_run.report["claims"])
    assert "historical: transformers" in text


def test_the_log_holds_nothing_that_differs_between_machines(own_run):
    text = (own_run.folder / "verification-log.md").read_text(encoding="utf-8")
    assert str(ROOT) not in text
    assert own_run.report["run"]["started"][:10] not in text
    assert own_run.report["run"]["platform"] not in text
    noises = {
        f"{check['noise']:.1e}" for claim in own_run.report["claims"] for check in claim["checks"] if check["noise"]
    }
    assert not [noise for noise in noises if noise in text]


@pytest.mark.parametrize(
    "change",
    [
        lambda report: report["claims"].pop(0),
        lambda report: report["run"]["subject"].update(own=False),
        lambda report: report["claims"][0].update(reasons=["x: was not run"]),
    ],
)
def test_a_part_of_the_log_is_not_written_as_the_log(change, own_run):
    report = json.loads(json.dumps(own_run.report))
    assert markdown.is_whole(results.load(json.dumps(report)))
    change(report)
    assert not markdown.is_whole(results.load(json.dumps(report)))
