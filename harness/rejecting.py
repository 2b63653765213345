"""Whether a check could have failed: wrong answers and known mistakes in the subject's place, and the noise beneath.

Each has to come out as a failure; an error is not one, except an error of arithmetic.
"""

from collections.abc import Iterable

from harness import compare
from harness.claims import Check, ItselfSide, ValueSide
from harness.compare import Arrays
from harness.inputs import Case
from harness.observables import OBSERVABLES, Observable
from harness.relating import Cast, ask, not_finite, picked, relate, right_side
from harness.results import CheckResult, CounterexampleResult, Observation, Rejection
from harness.subjects.base import Pending, Subject
from reference.mistakes import MISTAKES, Mistake

CLEARLY = 1e6  # a counterexample is not looked at further once it is so many bounds off
NOISE_CASES = 3


def noise(check: Check, observable: Observable, cases: list[Case], cast: Cast) -> float | None:
    """The error between two references, under the check's own relation: what rounding alone comes to."""
    if check.relation != "equals" or check.reading != "float64" or observable.plain:
        return None
    if "torch" not in observable.references or isinstance(check.right, ValueSide) or check.bound.kind == "exactly":
        return None
    first = cast.torch({}, "mask", like=check.subject, own=False)
    second = cast.torch({}, "cache", like=check.subject, own=False)
    if "paper" in observable.references and check.subject == "microgpt":
        second = cast.paper(1e-5, own=False, activation="relu")
    largest = 0.0
    for case in cases[:NOISE_CASES]:
        a, b = (ask(who, check.observe, case.inputs, "float64")() for who in (first, second))
        shared = picked(check, a.arrays).keys() & b.arrays.keys()
        comparison = compare.equals(
            {n: b.arrays[n] for n in shared}, {n: a.arrays[n] for n in shared}, check.bound, observable.exact_zeros
        )
        largest = max(largest, comparison.observed)
    return largest


def controls(check: Check, expected: list[Arrays], seed: int) -> list[CounterexampleResult]:
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


def by_recipe(check: Check, mistake: Mistake) -> bool:
    """Whether the PyTorch decoder of an edited recipe can stand in for the subject in a check."""
    references = OBSERVABLES[check.observe].references
    takes_all = not isinstance(check.right, ItselfSide) or not set(check.right.itself.given) & {
        "attention",
        "order",
        "feed",
    }
    if not mistake.recipe or check.reading != "float64" or "torch" not in references:
        return False
    return takes_all or not (mistake.patch if check.subject == "microgpt" else mistake.module)


def candidate(name: str, check: Check, cast: Cast) -> Subject:
    """Who makes the mistake: the PyTorch decoder of an edited recipe where that can answer, else a patched microgpt."""
    mistake = MISTAKES[name]
    if by_recipe(check, mistake):
        return cast.torch(mistake.recipe, "mask", like=check.subject, own=True)
    return cast.patched(name, mistake, check.of)


def counterexamples(
    check: Check, cases: list[tuple[Case, Case]], first: dict[str, Pending], cast: Cast, seed: int
) -> list[CounterexampleResult]:
    """Each of a check's counterexamples in the subject's place; `first` holds answers that are under way."""
    expected: dict[int, Observation] = {}  # what the references answer is the same for every counterexample
    return [
        _counterexample(name, check, cases, first.get(name), cast, seed, expected) for name in check.counterexamples
    ]


def _counterexample(
    name: str,
    check: Check,
    cases: list[tuple[Case, Case]],
    first: Pending | None,
    cast: Cast,
    seed: int,
    expected: dict[int, Observation],
) -> CounterexampleResult:
    """Rejected where the check fails, with how far off it was; cases are looked at until that is clear."""
    maker = candidate(name, check, cast)
    side = right_side(check, cast, own=True, itself=maker)
    result = CounterexampleResult(name=name, outcome="survived")
    for i, (case, other) in enumerate(cases):
        pending = first if i == 0 else None
        left = (pending or ask(maker, check.observe, case.inputs, check.reading))()
        right = expected[i] if i in expected else side.ask(case, other)()
        if answer := not_finite(left, right, side.oracle):
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


def thin(result: CheckResult) -> list[str]:
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
