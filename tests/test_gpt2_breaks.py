"""Editing a single statement of Hugging Face's GPT-2 fails the claims that it concerns, and no other."""

import pytest

from harness import loading, run
from reference import huggingface
from reference.mistakes import MISTAKES

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
def claims(bare_claims):
    about = [item for item in bare_claims.claims if item.claim.id in ABOUT_GPT2]
    return loading.Claims(about, bare_claims.sources)


def verdicts(claims):
    return {claim.id: claim.verdict for claim in run.run(claims, run.Options()).claims}


def test_the_module_as_it_is_refutes_nothing(claims):
    assert set(verdicts(claims).values()) <= {"verified", "qualified", "cited", "unproven"}


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_of_one_statement_fails_the_claims_that_it_concerns_and_no_other(name, claims, monkeypatch):
    module = MISTAKES[name].module
    broken = huggingface.patched(module.file, module.apply)
    monkeypatch.setattr(huggingface, "installed", lambda: broken)
    found = verdicts(claims)
    assert {claim for claim, verdict in found.items() if verdict == "refuted"} == BREAKS[name]
    assert "broken" not in found.values()
