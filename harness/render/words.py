"""How results are put into words, the same in every format. Nothing here counts or decides."""

from harness.results import CheckResult, ClaimResult, CounterexampleResult, Worst

VERDICTS = {
    "verified": "verified",
    "qualified": "verified, with qualification",
    "cited": "cited",
    "refuted": "REFUTED",
    "unproven": "unproven",
    "broken": "BROKEN",
    "not_about": "not about this subject",
}
ORACLES = {
    "independent": "an independent implementation",
    "transcription": "a transcription of the paper",
    "itself": "the subject itself",
    "literal": "a literal value",
}


def number(value: float | str | None) -> str:
    """A number in a report: short where it is a measure of distance."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else "0" if value == 0 else f"{value:.2g}"


def precise(value: float | str) -> str:
    """A number that was observed or expected, to the digits that make it out."""
    return value if isinstance(value, str) else f"{value:.17g}"


def place(worst: Worst) -> str:
    """``array[1,2]``."""
    return worst.array + (f"[{','.join(map(str, worst.index))}]" if worst.index else "")


def caught(claim: ClaimResult) -> tuple[int, int]:
    """How many of a claim's distinct mistakes every check that names them rejected, and how many there are."""
    tried: dict[str, bool] = {}
    for check in claim.checks:
        for mistake in check.counterexamples:
            tried[mistake.name] = tried.get(mistake.name, True) and mistake.outcome == "rejected"
    return sum(tried.values()), len(tried)


def subtlest(check: CheckResult) -> CounterexampleResult | None:
    """The rejected counterexample that came closest to passing; none for limits, where distance means nothing."""
    if check.bound not in ("rounding", "relative", "absolute", "simplifies to 0") and not check.bound.endswith(
        "digits"
    ):
        return None
    measured = [c for c in check.counterexamples if c.outcome == "rejected" and isinstance(c.observed, float)]
    return min(measured, key=lambda c: float(c.observed or 0), default=None)


def clauses(claim: ClaimResult, check: CheckResult) -> str:
    """The claim's words that a check decides."""
    texts = [f"“{clause.text}”" for clause in claim.words if check.id in clause.by]
    return ", ".join(texts) or "none of the claim's words; also checked"
