"""From results to verdicts, and from verdicts to the exit code. Nothing else counts.

Verdicts: a claim is refuted where a check failed; broken where one could not be finished; unproven where one was
skipped, compared nothing, or accepted an answer that is wrong, or where a clause is decided by nothing; cited where
only sources decide it; verified otherwise, with a qualification where the claim file states one.
"""

from collections.abc import Iterable

from harness.claims import Claim
from harness.results import CheckResult, ClaimResult, EvidenceResult, Verdict, WordsResult

OK, UNVERIFIED, USAGE, BROKEN, EVIDENCE, NOTHING, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130
_STRENGTH = ("proved", "exact", "digits", "rounding", "bound", "behaviour", "cited")


def words(claim: Claim) -> list[WordsResult]:
    """Each clause with what decides it."""
    return [
        WordsResult(text=clause.text, by=list(clause.by), cites=clause.cites, covered=bool(clause.by or clause.cites))
        for clause in claim.words
    ]


def uncovered(claim: Claim) -> list[str]:
    """The words of the claim that no clause holds, as runs of text."""
    rest = " ".join(claim.claim.split())
    for clause in sorted(claim.words, key=lambda c: -len(c.text)):
        rest = rest.replace(" ".join(clause.text.split()), "\n", 1)
    return [run.strip(" ,;.:()") for run in rest.split("\n") if run.strip(" ,;.:()")]


def unsound(check: CheckResult) -> list[str]:
    """Why a check that passed shows nothing: it compared nothing, or let a wrong answer through."""
    reasons = []
    if check.outcome == "pass" and not check.compared:
        reasons.append(f"{check.id}: nothing was compared")
    if check.outcome == "pass" and not (check.controls or check.counterexamples):
        reasons.append(f"{check.id}: no wrong answer was tried")
    for tried in (*check.controls, *check.counterexamples):
        if tried.outcome == "survived":
            reasons.append(f"{check.id}: lets {tried.name} through" + (f" ({tried.message})" if tried.message else ""))
        elif tried.outcome == "error":
            reasons.append(f"{check.id}: {tried.name} could not be tried: {tried.message}")
    return reasons


def verdict(claim: Claim, checks: list[CheckResult], *, about_subject: bool = True) -> tuple[Verdict, list[str]]:
    """The verdict on a claim, and why it is not verified (empty where it is)."""
    if not about_subject:
        return "not_about", [f"the claim is about {claim.about}"]
    failed = [check for check in checks if check.outcome == "fail"]
    crashed = [check for check in checks if check.outcome == "error"]
    broken = [f"{check.id}: {check.message}" for check in crashed]
    if failed:
        return "refuted", [f"{check.id}: failed" for check in failed] + broken
    if broken:
        return "broken", broken
    reasons = [f"{check.id}: skipped: {check.message}" for check in checks if check.outcome == "skip"]
    reasons += [reason for check in checks for reason in unsound(check)]
    ran = {check.id for check in checks}
    reasons += [f"{check.id}: was not run" for check in claim.checks if check.id not in ran]
    reasons += [f"nothing decides: {clause.text!r}" for clause in words(claim) if not clause.covered]
    if not claim.words:
        reasons.append("the claim maps none of its words to a check")
    if reasons:
        return "unproven", reasons
    if not any(clause.by for clause in claim.words):
        return "cited", []
    return ("qualified" if claim.qualification else "verified"), []


def strongest(result_verdict: Verdict, checks: Iterable[CheckResult]) -> str:
    """The strongest kind of evidence among the checks that passed."""
    if result_verdict == "cited":
        return "cited"
    kinds = {check.evidence for check in checks if check.outcome == "pass" and check.evidence}
    return min(kinds, key=lambda kind: _STRENGTH.index(kind.split()[-1]), default="")


def exit_code(claims: list[ClaimResult]) -> int:
    """The first that applies: nothing to run, a claim broken, one refuted or unproven, evidence gone, all well."""
    judged = [claim for claim in claims if claim.verdict != "not_about"]
    if not judged:
        return NOTHING
    verdicts = {claim.verdict for claim in judged}
    if "broken" in verdicts:
        return BROKEN
    if verdicts & {"refuted", "unproven"}:
        return UNVERIFIED
    return EVIDENCE if any(_lost(item) for claim in judged for item in claim.evidence if claim.gates) else OK


def _lost(item: EvidenceResult) -> bool:
    return item.state in ("gone", "ambiguous")
