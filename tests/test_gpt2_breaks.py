"""Editing a single statement of Hugging Face's GPT-2 fails the claims that it concerns, and no other."""

from pathlib import Path

import pytest

from harness import loading, run
from reference import huggingface
from reference.mistakes import MISTAKES

ROOT = Path(__file__).resolve().parent.parent
ABOUT_GPT2 = ("decoder-causality", "pre-norm", "causal-mask", "positions", "bos-eos", "gelu", "biases-and-dropout")

BREAKS = {
    "gpt2-no-final-norm": {"pre-norm"},
    "gpt2-sdpa-not-causal": {"causal-mask", "decoder-causality"},
    "gpt2-eager-without-mask": {"causal-mask"},
    "gpt2-gelu-erf": {"gelu"},
    "gpt2-conv1d-ignores-bias": {"biases-and-dropout"},
    "gpt2-eos-of-its-own": {"bos-eos"},
    "gpt2-positions-multiplied": {"positions"},
}


@pytest.fixture(scope="module")
def claims():
    loaded = loading.load([ROOT / "claims"])
    return loading.Claims([item for item in loaded.claims if item.claim.id in ABOUT_GPT2], loaded.sources)


def verdicts(claims):
    return {claim.id: claim.verdict for claim in run.run(claims, run.Options()).claims}


def test_the_module_as_it_is_refutes_nothing(claims):
    assert set(verdicts(claims).values()) <= {"verified", "qualified", "cited"}


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_of_one_statement_fails_the_claims_that_it_concerns_and_no_other(name, claims, monkeypatch):
    module = MISTAKES[name].module
    broken = huggingface.patched(module.file, module.apply)
    monkeypatch.setattr(huggingface, "installed", lambda: broken)
    found = verdicts(claims)
    assert {claim for claim, verdict in found.items() if verdict in ("refuted", "broken", "unproven")} == BREAKS[name]
    assert all(found[claim] == "refuted" for claim in BREAKS[name])
