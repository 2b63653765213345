"""One check, from its inputs to its result: observe, relate, and show that it could have failed.

The right side of the relation is asked with the same inputs as the subject. Then each counterexample, and each answer
that is wrong on its face, takes the subject's place, and has to fail.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from harness import compare, derived, inputs
from harness.claims import Bound, Check, ItselfSide, PaperSide, TorchSide, ValueSide
from harness.compare import Arrays, Comparison
from harness.inputs import Case
from harness.observables import OBSERVABLES, Observable
from harness.results import CheckOutcome, CheckResult, CounterexampleResult, Observation, Oracle, Rejection
from harness.subjects.base import Pending, Subject
from reference.mistakes import MISTAKES, Mistake

CLEARLY = 1e6  # a counterexample is not looked at further once it is so many bounds off
NOISE_CASES = 3


class Cast(Protocol):
    """Who takes part in a run; references are made when they are first asked for, for importing them takes seconds."""

    def subject(self) -> Subject:
        """Who is under test."""
        ...

    def patched(self, name: str, mistake: Mistake) -> Subject:
        """This repository's own microgpt with a mistake."""
        ...

    def torch(self, edits: dict[str, Any], attention: str, *, own: bool) -> Subject:
        """The PyTorch reference, with the subject's hyperparameters, or this repository's own."""
        ...

    def paper(self, eps_under_root: float, *, own: bool) -> Subject:
        """The papers' equations, likewise."""
        ...


def ask(subject: Subject, observable: str, given: dict[str, Any], reading: str) -> Pending:
    """Begin to observe; what the harness computes from other observations is put together when they are there."""
    if not OBSERVABLES[observable].from_others:
        return subject.ask(observable, given, reading)
    parts = [subject.ask("logits", request, reading) for request in derived.requests(observable, given)]

    def put_together() -> Observation:
        observations = [part() for part in parts]
        odd = next((o for o in observations if o.error or o.skipped), None)
        return odd or Observation(arrays=derived.combine(observable, [o.arrays for o in observations]))

    return put_together


@dataclass
class Side:
    """Where the right side of a relation comes from, for one candidate."""

    ask: Callable[[Case, Case], Pending]  # from the case and its counterpart on the right side
    oracle: Oracle
    words: str


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
    subject = cast.subject()
    started = Started(check, cases, others, [ask(subject, check.observe, case.inputs, check.reading) for case in cases])
    if isinstance(check.right, ItselfSide):
        started.right = [ask(subject, check.observe, case.inputs, check.reading) for case in others]
    for name in check.counterexamples:
        mistake = MISTAKES[name]
        if mistake.patch and not _by_recipe(check, mistake):
            patched = cast.patched(name, mistake)
            started.first[name] = ask(patched, check.observe, cases[0].inputs, check.reading)
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
    side = _side(check, cast, own=False)
    total = _Total(check, seed)
    for i, (case, other) in enumerate(zip(started.cases, started.others, strict=True)):
        right = started.right[i]() if started.right else side.ask(case, other)()
        total.add(case, started.left[i](), right, side.oracle)
    result = total.result(side, repeat, observable)
    result.noise = _noise(check, observable, started.cases, cast)
    if result.outcome != "pass":
        return result
    result.controls = _controls(check, total.expected, seed)
    expected: dict[int, Observation] = {}  # what the references answer is the same for every counterexample
    for name in check.counterexamples:
        result.counterexamples.append(_counterexample(name, started, cast, seed, expected))
    result.notes += _thin(result)
    return result


# --- the right side ---------------------------------------------------------------------------------------------------


def _side(check: Check, cast: Cast, *, own: bool, itself: Subject | None = None) -> Side:
    """The right side; `own` where a counterexample stands on the left, which `itself` then is."""
    right = check.right
    oracle: Oracle
    if isinstance(right, ItselfSide):
        subject = itself or cast.subject()
        changes = ", ".join(f"{name} {value}" for name, value in right.itself.given.items())
        return Side(
            lambda _case, other: ask(subject, check.observe, other.inputs, check.reading),
            "itself",
            f"itself with {changes}",
        )
    if right == "torch" or isinstance(right, TorchSide):
        how = right.torch.attention if isinstance(right, TorchSide) else "mask"
        reference, oracle = cast.torch({}, how, own=own), "independent"
        words = f"torch ({how})" if check.observe in ("attention", "logits", "gradients") else "torch"
    elif right == "paper" or isinstance(right, PaperSide):
        eps = right.paper.eps_under_root if isinstance(right, PaperSide) else 0.0
        reference, oracle = cast.paper(eps, own=own), "transcription"
        words = f"paper with {eps:g} under the root" if eps else "paper"
    else:
        return Side(lambda _case, _other: lambda: _literal(check), "literal", _literal_words(right))
    return Side(lambda case, _other: ask(reference, check.observe, case.inputs, check.reading), oracle, words)


def _literal(check: Check) -> Observation:
    right = check.right
    if not isinstance(right, ValueSide):
        return Observation()
    return Observation(arrays=right.value if isinstance(right.value, dict) else {str(check.at): right.value})


def _literal_words(right: Any) -> str:
    return str(right.value) if isinstance(right, ValueSide) else f"{right:g}"


# --- relating ---------------------------------------------------------------------------------------------------------


def relate(check: Check, left: Observation, right: Observation, seed: int) -> tuple[Comparison, str]:
    """One case; the comparison, and what could not be decided (empty where all was)."""
    a, b = _picked(check, left.arrays), _picked(check, right.arrays)
    observable = OBSERVABLES[check.observe]
    if check.relation == "at_most":
        return compare.at_most(a, check.right), ""
    if check.relation == "at_least":
        return compare.at_least(a, check.right), ""
    if check.relation == "differs":
        assert check.by is not None  # noqa: S101 - the loader refuses differs without by
        return compare.differs(a, b, check.by.at_least), ""
    if check.reading in ("symbols", "digits"):
        from harness import proof  # noqa: PLC0415 - mpmath and SymPy are needed by two readings only

        if check.reading == "digits":
            return proof.compare_digits(a, b), ""
        return proof.compare_symbols(a, b, left.conditions, seed)
    if observable.plain:
        return compare.same_values(a, b), ""
    return compare.equals(a, b, _bound(check), observable.exact_zeros), ""


def _bound(check: Check) -> Bound:
    return Bound(kind="exactly") if check.reading == "dependencies" else check.bound


def _picked(check: Check, arrays: Arrays) -> Arrays:
    return arrays if check.at is None else {n: array for n, array in arrays.items() if n == check.at}


def _not_finite(left: Observation, right: Observation, oracle: Oracle) -> str:
    """What an error of arithmetic on the subject's side means; empty where there was none."""
    sides = (left, right) if oracle == "itself" else (left,)
    return next((f"not a finite number: {side.error}" for side in sides if side.error and side.arithmetic), "")


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
        if message := _not_finite(left, right, oracle):
            self.comparisons.append((case, Comparison(False, 0, 1, message=message)))
        elif left.error or right.error:
            self.errors.append(f"[{case.name}] {left.error or right.error}")
        elif not (left.skipped or right.skipped):
            comparison, undecided = relate(self.check, left, right, self.seed)
            self.comparisons.append((case, comparison))
            self.expected.append(_picked(self.check, right.arrays))
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
            of=check.of,
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
    return "exact" if check.relation == "at_most" and check.right == 0 else "behaviour"


def _bound_words(check: Check, observable: Observable) -> str:
    if check.relation != "equals":
        return "by at least" if check.relation == "differs" else check.relation.replace("_", " ")
    if check.reading == "symbols":
        return "simplifies to 0"
    if check.reading == "digits":
        return f"{compare.DIGITS} digits"
    return "exactly" if observable.plain else _bound(check).kind


# --- what has to fail -------------------------------------------------------------------------------------------------


def _noise(check: Check, observable: Observable, cases: list[Case], cast: Cast) -> float | None:
    """The error between two references, under the check's own relation: what rounding alone comes to."""
    if check.relation != "equals" or check.reading != "float64" or observable.plain:
        return None
    if "torch" not in observable.references or isinstance(check.right, ValueSide) or check.bound.kind == "exactly":
        return None
    first, second = cast.torch({}, "mask", own=False), cast.torch({}, "cache", own=False)
    if "paper" in observable.references:
        second = cast.paper(1e-5, own=False)
    largest = 0.0
    for case in cases[:NOISE_CASES]:
        a, b = (ask(who, check.observe, case.inputs, "float64")() for who in (first, second))
        shared = a.arrays.keys() & b.arrays.keys()
        comparison = compare.equals(
            {n: b.arrays[n] for n in shared}, {n: a.arrays[n] for n in shared}, check.bound, observable.exact_zeros
        )
        largest = max(largest, comparison.observed)
    return largest


def _controls(check: Check, expected: list[Arrays], seed: int) -> list[CounterexampleResult]:
    """Answers that are wrong on their face, in the subject's place; for `equals` in float64."""
    if check.reading in ("symbols", "digits"):
        return []
    if check.relation != "equals":
        return _limit_controls(check, seed)
    found: dict[str, CounterexampleResult] = {}
    for arrays in expected:
        plain = OBSERVABLES[check.observe].plain
        wrong_answers = compare.wrong_values(arrays) if plain else compare.wrong_answers(arrays, seed)
        for name, wrong in wrong_answers.items():
            if name in found:
                continue
            comparison, _ = relate(check, Observation(arrays=dict(wrong)), Observation(arrays=dict(arrays)), seed)
            outcome: Rejection = "survived" if comparison.passed else "rejected"
            found[name] = CounterexampleResult(name=name, outcome=outcome, observed=comparison.observed)
    return list(found.values())


def _limit_controls(check: Check, seed: int) -> list[CounterexampleResult]:
    """For the other relations: not a number, and for `differs` the same on both sides."""
    name = check.at or "value"
    wrong = {"not a number": [float("nan"), 1.0]}
    if check.relation == "differs":
        wrong["no difference"] = [0.0, 1.0]
    results = []
    for control, answer in wrong.items():
        sides = Observation(arrays={name: answer}), Observation(arrays={name: [0.0, 1.0]})
        comparison, _ = relate(check, *sides, seed)
        outcome: Rejection = "survived" if comparison.passed else "rejected"
        results.append(CounterexampleResult(name=control, outcome=outcome, observed=comparison.observed))
    return results


def _by_recipe(check: Check, mistake: Mistake) -> bool:
    references = OBSERVABLES[check.observe].references
    takes_all = not isinstance(check.right, ItselfSide) or not set(check.right.itself.given) & {"attention", "order"}
    return bool(mistake.recipe) and check.reading == "float64" and "torch" in references and takes_all


def _counterexample(
    name: str, started: Started, cast: Cast, seed: int, expected: dict[int, Observation]
) -> CounterexampleResult:
    """A known mistake in the subject's place: rejected where the check fails, with how far off it was."""
    check, mistake = started.check, MISTAKES[name]
    candidate = (
        cast.torch(mistake.recipe, "mask", own=True) if _by_recipe(check, mistake) else cast.patched(name, mistake)
    )
    side = _side(check, cast, own=True, itself=candidate)
    result = CounterexampleResult(name=name, outcome="survived")
    for i, (case, other) in enumerate(zip(started.cases, started.others, strict=True)):
        pending = started.first.get(name) if i == 0 else None
        left = (pending or ask(candidate, check.observe, case.inputs, check.reading))()
        right = expected[i] if i in expected else side.ask(case, other)()
        if answer := _not_finite(left, right, side.oracle):
            return _changed(result, "rejected", float("inf"), answer)
        if side.oracle != "itself":
            expected[i] = right
        if left.error or left.skipped or right.error or right.skipped:
            why = left.error or left.skipped or right.error or right.skipped
            return _changed(result, "error", None, f"[{case.name}] {why}")
        comparison, undecided = relate(check, left, right, seed)
        if not comparison.passed:
            error = abs(comparison.observed)
            if result.observed is None or error > float(result.observed):
                result = _changed(result, "rejected", error, comparison.message)
            if error >= CLEARLY * comparison.allowed:
                return result
        elif undecided:
            result.message = undecided
    return result


def _changed(
    result: CounterexampleResult, outcome: Rejection, observed: float | None, message: str
) -> CounterexampleResult:
    return result.model_copy(update={"outcome": outcome, "observed": observed, "message": message})


def _thin(result: CheckResult) -> list[str]:
    """Where the bound lies within a factor 10 of the noise or of the subtlest counterexample."""
    if result.bound not in ("rounding", "relative", "absolute") or not result.allowed:
        return []
    notes = []
    if result.noise is not None and result.noise * 10 > result.allowed:
        notes.append(f"thin: the bound is less than ten times the noise of {result.noise:.1e}")
    distances: Iterable[float] = (c.observed for c in result.counterexamples if c.observed is not None)
    subtlest = min(distances, default=None)
    if subtlest is not None and subtlest < 10 * result.allowed:
        notes.append(f"thin: the subtlest counterexample is {subtlest:.1e} off, less than ten bounds")
    return notes
