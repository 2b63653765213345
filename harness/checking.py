"""One check, from its inputs to its result: observe, relate, and show that it could have failed.

The right side of the relation is asked with the same inputs as the subject. Then each counterexample, and each answer
that is wrong on its face, takes the subject's place, and has to fail.
"""

from dataclasses import dataclass, field

from harness import compare, inputs, rejecting
from harness.claims import Check, ItselfSide
from harness.compare import Arrays, Comparison
from harness.inputs import Case
from harness.observables import OBSERVABLES, Observable
from harness.relating import Cast, Side, ask, bound_of, misnamed, not_finite, picked, relate, right_side
from harness.results import CheckOutcome, CheckResult, Observation, Oracle
from harness.subjects.base import Pending
from reference.mistakes import MISTAKES


@dataclass
class Started:
    """A check whose observations are under way."""

    check: Check
    cases: list[Case]
    others: list[Case]  # the same cases as the right side gets them
    left: list[Pending]
    right: list[Pending] = field(default_factory=list)  # of `itself` only: references are asked when all has begun
    first: dict[str, Pending] = field(default_factory=dict)  # each patch on the first case


def start(check: Check, cast: Cast, seed: int) -> Started:
    """Ask the subject, and each patch on the first case; nothing is waited for."""
    model = OBSERVABLES[check.observe].given
    cases = inputs.cases(check.observe, model.model_validate(check.given), seed)
    others = cases
    if isinstance(check.right, ItselfSide):
        given = {**check.given, **check.right.itself.given}
        others = inputs.cases(check.observe, model.model_validate(given), seed)
    subject = cast.subject(check.of)
    started = Started(check, cases, others, [ask(subject, check.observe, case.inputs, check.reading) for case in cases])
    if isinstance(check.right, ItselfSide):
        started.right = [ask(subject, check.observe, case.inputs, check.reading) for case in others]
    for name in check.counterexamples:
        if not rejecting.by_recipe(check, MISTAKES[name]):  # PyTorch is not imported yet
            maker = rejecting.candidate(name, check, cast)
            started.first[name] = ask(maker, check.observe, cases[0].inputs, check.reading)
    return started


def finish(started: Started, cast: Cast, seed: int, repeat: str) -> CheckResult:
    """Wait, relate, and try everything that has to fail; the result of one check. Nothing is raised."""
    try:
        return _finish(started, cast, seed, repeat)
    except Exception as error:
        total = _Total(started.check, seed)
        total.errors.append(f"the check itself failed: {type(error).__name__}: {error}")
        side = Side(lambda _case, _other: Observation, "literal", "its right side")
        return total.result(side, repeat, OBSERVABLES[started.check.observe])


def _finish(started: Started, cast: Cast, seed: int, repeat: str) -> CheckResult:
    check, observable = started.check, OBSERVABLES[started.check.observe]
    side = right_side(check, cast, own=False)
    total = _Total(check, seed)
    for i, (case, other) in enumerate(zip(started.cases, started.others, strict=True)):
        right = started.right[i]() if started.right else side.ask(case, other)()
        total.add(case, started.left[i](), right, side.oracle)
    result = total.result(side, repeat, observable)
    result.noise = rejecting.noise(check, observable, started.cases, cast)
    if result.outcome != "pass":
        return result
    result.controls = rejecting.controls(check, total.expected, seed)
    pairs = list(zip(started.cases, started.others, strict=True))
    result.counterexamples = rejecting.counterexamples(check, pairs, started.first, cast, seed)
    result.notes += rejecting.thin(result)
    return result


class _Total:
    """The comparisons of all cases of a check, put together."""

    def __init__(self, check: Check, seed: int) -> None:
        self.check, self.seed = check, seed
        self.comparisons: list[tuple[Case, Comparison]] = []
        self.errors: list[str] = []
        self.skips: list[str] = []
        self.guards: dict[str, None] = {}
        self.notes: dict[str, None] = {}
        self.expected: list[Arrays] = []

    def add(self, case: Case, left: Observation, right: Observation, oracle: Oracle) -> None:
        """Relate one case."""
        for observation in (left, right):
            self.guards |= dict.fromkeys(observation.guards)
            self.notes |= dict.fromkeys(observation.notes)
            if observation.skipped:
                self.skips.append(observation.skipped)
        if message := not_finite(left, right, oracle):
            self.comparisons.append((case, Comparison(False, 0, 1, message=message)))
        elif left.error or right.error:
            self.errors.append(f"[{case.name}] {left.error or right.error}")
        elif left.skipped or right.skipped:
            return
        elif message := misnamed(self.check, left, right, oracle):
            self.errors.append(f"[{case.name}] {message}")
        else:
            comparison, undecided = relate(self.check, left, right, self.seed)
            self.comparisons.append((case, comparison))
            self.expected.append(picked(self.check, right.arrays))
            if undecided:
                self.skips.append(undecided)

    def worst(self) -> tuple[Case, Comparison] | None:
        """The case that is furthest off; one without a number counts as furthest."""
        if not self.comparisons:
            return None
        if self.check.relation in ("differs", "at_least"):
            return min(self.comparisons, key=lambda item: (item[1].passed, item[1].observed))
        return max(self.comparisons, key=lambda item: (not item[1].passed, item[1].observed))

    def outcome(self) -> CheckOutcome:
        """fail before error before skip before pass."""
        if any(not comparison.passed for _, comparison in self.comparisons):
            return "fail"
        return "error" if self.errors else "skip" if self.skips or not self.comparisons else "pass"

    def result(self, side: Side, repeat: str, observable: Observable) -> CheckResult:
        """The check's result, without noise, controls and counterexamples."""
        check, found = self.check, self.worst()
        case, comparison = found or (None, Comparison(False))
        outcome = self.outcome()
        because = (check.by.because if check.by else check.because) or check.bound.because
        worst = comparison.worst.model_copy() if comparison.worst else None
        if worst and case:
            worst.case = f"{case.name}; {worst.case}".strip("; ")
        messages = [comparison.message, *_first(self.errors), *_first(sorted(set(self.skips)))]
        return CheckResult(
            id=check.id,
            observe=check.observe,
            of=_of_words(check),
            reading=check.reading,
            given=dict(check.given),
            relation=_relation_words(check, side),
            oracle=side.oracle,
            outcome=outcome,
            evidence=_evidence(check, observable, comparison) if outcome == "pass" else "",
            cases=len(self.comparisons),
            compared=sum(c.compared for _, c in self.comparisons),
            differing=sum(c.differing for _, c in self.comparisons),
            observed=comparison.observed if found else None,
            allowed=comparison.allowed if found else None,
            bound=_bound_words(check, observable),
            because=because,
            worst=worst,
            guards=list(self.guards),
            notes=list(self.notes),
            message="; ".join(message for message in messages if message),
            repeat=repeat,
        )


def _of_words(check: Check) -> str:
    """Who is observed, with the options that are not the default."""
    if isinstance(check.of, str):
        return check.of
    options = getattr(check.of, check.subject).model_dump(exclude_defaults=True)
    return " ".join([check.subject, *(f"({name}: {value})" for name, value in options.items())])


def _relation_words(check: Check, side: Side) -> str:
    joined = {"differs": "differs from", "at_most": "at most", "at_least": "at least"}.get(
        check.relation, check.relation
    )
    return f"{joined} {side.words}" + (f" at {check.at}" if check.at else "")


def _first(messages: list[str]) -> list[str]:
    """The first of several messages, and how many more there are."""
    return [messages[0] + (f" (and {len(messages) - 1} more)" if len(messages) > 1 else "")] if messages else []


def _evidence(check: Check, observable: Observable, comparison: Comparison) -> str:
    if check.reading == "symbols":
        return "proved"
    if check.reading == "digits":
        return f"{compare.digits_of(comparison.observed)} digits"
    if (
        check.reading == "dependencies"
        or observable.plain
        or (check.relation == "equals" and check.within == "exactly")
    ):
        return "exact"
    if check.relation == "equals":
        return "rounding" if check.bound.kind == "rounding" else "bound"
    if check.relation == "at_most":
        return "exact" if check.right == 0 else "bound"
    return "behaviour"


def _bound_words(check: Check, observable: Observable) -> str:
    if check.relation != "equals":
        return "by at least" if check.relation == "differs" else check.relation.replace("_", " ")
    if check.reading == "symbols":
        return "simplifies to 0"
    if check.reading == "digits":
        return f"{compare.DIGITS} digits"
    return "exactly" if observable.plain else bound_of(check).kind
