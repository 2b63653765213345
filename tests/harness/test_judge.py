"""From results to verdicts and the exit code: every row of the table, and which row comes first."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import judge
from harness.claims import Claim
from harness.results import CheckResult, ClaimResult, CounterexampleResult, EvidenceResult

EVIDENCE_STATES = ("found", "historical", "gone", "ambiguous", "cited")
REJECTED = CounterexampleResult(name="zeros", outcome="rejected", observed=1.0)
SURVIVED = CounterexampleResult(name="layer-norm", outcome="survived")
CRASHED = CounterexampleResult(name="layer-norm", outcome="error", message="it hangs")
BOTH = [{"text": "a norm", "by": ["a"]}, {"text": "and a softmax", "by": ["b"]}]


def claim(words=BOTH, checks=("a", "b"), **fields):
    check = {"observe": "rms_norm", "of": "microgpt", "equals": "torch"}
    return Claim.model_validate(
        {"id": "one", "about": "microgpt", "title": "One", "claim": "microgpt has a norm and a softmax."}
        | {"words": words, "checks": [{"id": name, **check} for name in checks]}
        | fields
    )


def check(name="a", outcome="pass", **fields):
    usual = {"observe": "rms_norm", "of": "microgpt", "reading": "float64", "given": {}, "relation": "equals torch"}
    rest = {"oracle": "independent", "compared": 16, "controls": [REJECTED]}
    return CheckResult(id=name, outcome=outcome, **{**usual, **rest, **fields})


def judged(verdict="verified", states=(), **fields):
    evidence = [EvidenceResult(source="subject", state=state, where="file.py:1") for state in states]
    rest = {"section": None, "about": "microgpt", "title": "", "claim": "", "qualification": None, "words": []}
    where = {"file": "", "sha256": "", "uncovered": [], "checks": []}
    return ClaimResult(id="one", verdict=verdict, evidence=evidence, **{**rest, **where, **fields})


PASSED = [check("a"), check("b")]
CITED = [{"text": "a norm", "cites": "zhang-2019"}, {"text": "and a softmax", "cites": "vaswani-2017"}]
NOBODY = [{"text": "a norm", "by": ["a", "b"]}, {"text": "and a softmax"}]


# --- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "verdict"),
    [
        (claim(), "verified"),
        (claim(qualification="that is, at T 8"), "qualified"),
        (claim(CITED), "cited"),
        (claim(CITED, qualification="that is, in print"), "cited"),
        (claim([BOTH[0], CITED[1]]), "verified"),
        (claim([{"text": "a norm", "by": ["a"], "cites": "zhang-2019"}]), "verified"),
    ],
)
def test_a_claim_whose_checks_all_pass_needs_no_reason(asked, verdict):
    assert judge.verdict(asked, PASSED) == (verdict, [])


FAILURES = {
    "a check failed": (claim(), [check("a", "fail"), PASSED[1]], "refuted", ["a: failed"]),
    "both failed": (claim(), [check("a", "fail"), check("b", "fail")], "refuted", ["a: failed", "b: failed"]),
    "a check crashed": (claim(), [PASSED[0], check("b", "error", message="it hangs")], "broken", ["b: it hangs"]),
    "a check was skipped": (
        claim(),
        [check("a", "skip", message="no rmsnorm"), PASSED[1]],
        "unproven",
        ["a: skipped: no rmsnorm"],
    ),
    "nothing was compared": (claim(), [check("a", compared=0), PASSED[1]], "unproven", ["a: nothing was compared"]),
    "nothing wrong was tried": (
        claim(),
        [PASSED[0], check("b", controls=[])],
        "unproven",
        ["b: no wrong answer was tried"],
    ),
    "a mistake survived": (
        claim(),
        [check("a", counterexamples=[REJECTED, SURVIVED]), PASSED[1]],
        "unproven",
        ["a: lets layer-norm through"],
    ),
    "zeros survived": (
        claim(),
        [check("a", controls=[SURVIVED]), PASSED[1]],
        "unproven",
        ["a: lets layer-norm through"],
    ),
    "a mistake crashed": (
        claim(),
        [check("a", counterexamples=[CRASHED]), PASSED[1]],
        "unproven",
        ["a: layer-norm could not be tried: it hangs"],
    ),
    "a check was not run": (claim(), [PASSED[0]], "unproven", ["b: was not run"]),
    "no check was run": (claim(), [], "unproven", ["a: was not run", "b: was not run"]),
    "a check that no clause names failed": (
        claim([BOTH[1]]),
        [check("a", "fail"), PASSED[1]],
        "refuted",
        ["a: failed"],
    ),
    "a clause that nothing decides": (claim(NOBODY), PASSED, "unproven", ["nothing decides: 'and a softmax'"]),
    "no clauses": (claim([]), PASSED, "unproven", ["the claim maps none of its words to a check"]),
    "sources alone, and a failure": (claim(CITED), [check("a", "fail"), PASSED[1]], "refuted", ["a: failed"]),
    "sources alone, and a skip": (
        claim(CITED),
        [check("a", "skip", message="none"), PASSED[1]],
        "unproven",
        ["a: skipped: none"],
    ),
}


@pytest.mark.parametrize("qualification", [None, "that is, at T 8"])
@pytest.mark.parametrize(("asked", "checks", "verdict", "reasons"), FAILURES.values(), ids=FAILURES)
def test_a_claim_is_not_verified_and_it_is_said_why(asked, checks, verdict, reasons, qualification):
    asked = asked.model_copy(update={"qualification": qualification})
    assert judge.verdict(asked, checks) == (verdict, reasons)
    assert judge.verdict(asked, checks[::-1])[0] == verdict


def test_a_failure_counts_before_a_crash_and_both_are_told():
    checks = [check("b", "error", message="it hangs"), check("a", "fail")]
    assert judge.verdict(claim(NOBODY), checks) == ("refuted", ["a: failed", "b: it hangs"])


def test_a_crash_counts_before_all_that_is_unproven():
    checks = [check("a", "error", message="it hangs"), check("b", compared=0, counterexamples=[SURVIVED])]
    assert judge.verdict(claim(NOBODY), checks) == ("broken", ["a: it hangs"])


def test_every_reason_for_being_unproven_is_told():
    checks = [check("a", compared=0, counterexamples=[SURVIVED, CRASHED])]
    verdict, reasons = judge.verdict(claim(NOBODY), checks)
    assert (verdict, len(reasons)) == ("unproven", 5)


@pytest.mark.parametrize("outcome", ["pass", "fail", "error", "skip"])
def test_a_claim_about_something_else_is_not_judged(outcome):
    found = judge.verdict(claim(), [check("a", outcome), check("b", outcome)], about_subject=False)
    assert found == ("not_about", ["the claim is about microgpt"])


CHECKS = st.builds(
    check,
    st.sampled_from("ab"),
    st.sampled_from(["pass", "fail", "error", "skip"]),
    compared=st.integers(0, 1),
    controls=st.lists(st.sampled_from([REJECTED, SURVIVED, CRASHED]), max_size=2),
    counterexamples=st.lists(st.sampled_from([REJECTED, SURVIVED, CRASHED]), max_size=2),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(CHECKS, max_size=3), st.sampled_from([BOTH, CITED, NOBODY]), st.sampled_from([None, "that is"]))
def test_only_what_passed_and_could_have_failed_is_verified(checks, words, qualification):
    verdict, reasons = judge.verdict(claim(words, qualification=qualification), checks)
    outcomes = {item.outcome for item in checks}
    tried = [wrong.outcome for item in checks for wrong in item.controls + item.counterexamples]
    sound = all(item.compared and item.controls + item.counterexamples for item in checks)
    whole = {item.id for item in checks} == {"a", "b"} and words is not NOBODY
    if "fail" in outcomes or "error" in outcomes:
        assert verdict == ("refuted" if "fail" in outcomes else "broken")
    elif outcomes == {"pass"} and sound and whole and set(tried) == {"rejected"}:
        assert verdict == ("cited" if words is CITED else "qualified" if qualification else "verified")
    else:
        assert verdict == "unproven"
    assert bool(reasons) == (verdict not in ("verified", "qualified", "cited"))


# --- soundness --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["fail", "error", "skip"])
def test_what_did_not_pass_need_not_have_compared_or_tried_anything(outcome):
    assert judge.unsound(check(outcome=outcome, compared=0, controls=[])) == []


@pytest.mark.parametrize("kind", ["controls", "counterexamples"])
def test_what_got_through_is_named_with_what_was_undecided(kind):
    undecided = SURVIVED.model_copy(update={"message": "y[0] could not be simplified to 0"})
    tried = {"controls": [REJECTED], kind: [REJECTED, undecided, CRASHED, SURVIVED]}
    assert judge.unsound(check("a", **tried)) == [
        "a: lets layer-norm through (y[0] could not be simplified to 0)",
        "a: layer-norm could not be tried: it hangs",
        "a: lets layer-norm through",
    ]


def test_one_wrong_answer_of_either_kind_is_enough():
    assert judge.unsound(check(controls=[REJECTED])) == []
    assert judge.unsound(check(controls=[], counterexamples=[REJECTED])) == []


# --- words ------------------------------------------------------------------------------------------------------------


def test_each_clause_is_shown_with_what_decides_it():
    clauses = judge.words(claim([BOTH[0], CITED[1], NOBODY[1]]))
    assert [(each.text, each.by, each.cites, each.covered) for each in clauses] == [
        ("a norm", ["a"], None, True),
        ("and a softmax", [], "vaswani-2017", True),
        ("and a softmax", [], None, False),
    ]


@pytest.mark.parametrize(
    ("text", "clauses", "left"),
    [
        ("A norm and a softmax.", ["A norm", "and a softmax"], []),
        ("A norm and a softmax.", ["a softmax", "A norm"], ["and"]),
        ("A norm and a softmax.", [], ["A norm and a softmax"]),
        ("A norm, a loss; (and) a softmax: all.", ["A norm", "a softmax"], ["a loss; (and", "all"]),
        ("The  norm\n  of x", ["norm of\n x"], ["The"]),
        ("a norm and a norm", ["a norm"], ["and a norm"]),
        ("a norm and a norm", ["a norm", "a norm"], ["and"]),
        ("a norm of x", ["a norm", "a norm of x"], []),
        ("a norm of x, a norm", ["a norm", "a norm of x"], []),
        ("a norm", ["A norm"], ["a norm"]),
        ("a norm", ["a softmax"], ["a norm"]),
    ],
)
def test_words_that_no_clause_holds_are_found(text, clauses, left):
    asked = claim([{"text": clause, "by": ["a"]} for clause in clauses], claim=text)
    assert judge.uncovered(asked) == left


# --- the strongest evidence -------------------------------------------------------------------------------------------

STRENGTH = ["proved", "exact", "50 digits", "rounding", "bound", "behaviour"]


@pytest.mark.parametrize(("strong", "weak"), list(itertools.combinations(STRENGTH, 2)))
def test_the_stronger_kind_of_evidence_is_named_in_any_order(strong, weak):
    checks = [check("a", evidence=weak), check("b", evidence=strong), check("c", evidence=weak)]
    assert judge.strongest("verified", checks) == judge.strongest("unproven", checks[::-1]) == strong


def test_what_did_not_pass_is_no_evidence_and_a_citation_is_what_it_is():
    checks = [check("a", "fail", evidence="proved"), check("b", "skip", evidence="exact"), check("c", evidence="bound")]
    assert judge.strongest("refuted", checks) == "bound"
    assert judge.strongest("cited", checks) == "cited"
    assert judge.strongest("broken", checks[:2]) == judge.strongest("unproven", []) == ""
    assert judge.strongest("verified", [check(evidence="")]) == ""


# --- the exit code ----------------------------------------------------------------------------------------------------

CODES = {"verified": 0, "qualified": 0, "cited": 0, "refuted": 1, "unproven": 1, "broken": 3}
LOST = {"found": 0, "historical": 0, "gone": 4, "ambiguous": 4, "cited": 0}


@pytest.mark.parametrize("verdict", CODES)
@pytest.mark.parametrize("state", EVIDENCE_STATES)
def test_a_verdict_counts_before_lost_evidence(verdict, state):
    assert judge.exit_code([judged(verdict, [state])]) == (CODES[verdict] or LOST[state])
    assert judge.exit_code([judged(verdict, ["found", state, "cited"])]) == (CODES[verdict] or LOST[state])
    assert judge.exit_code([judged(verdict, [state], gates=False)]) == CODES[verdict]


@pytest.mark.parametrize("verdicts", list(itertools.product(CODES, repeat=2)))
def test_broken_counts_before_refuted_and_unproven(verdicts):
    codes = {CODES[verdict] for verdict in verdicts}
    assert judge.exit_code([judged(verdict) for verdict in verdicts]) == next(
        code for code in (3, 1, 0) if code in codes
    )


def test_nothing_to_judge_is_no_success():
    aside = judged("not_about", ["gone"])
    assert judge.exit_code([]) == judge.exit_code([aside]) == judge.exit_code([aside, aside]) == 5
    assert judge.exit_code([aside, judged()]) == 0
    assert judge.exit_code([aside, judged("refuted")]) == 1


def test_the_codes_are_those_that_are_documented():
    named = (judge.OK, judge.UNVERIFIED, judge.USAGE, judge.BROKEN, judge.EVIDENCE, judge.NOTHING, judge.INTERRUPTED)
    assert named == (0, 1, 2, 3, 4, 5, 130)
