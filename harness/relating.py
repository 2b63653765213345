"""One relation: who stands on the right side, and how two observations are related. It knows nothing of outcomes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from harness import compare, derived
from harness.claims import Bound, Check, Gpt2Side, ItselfSide, PaperOptions, PaperSide, TorchSide, ValueSide
from harness.compare import Arrays, Comparison
from harness.inputs import Case
from harness.observables import OBSERVABLES
from harness.results import Observation, Oracle
from harness.subjects.base import Pending, Subject
from reference.mistakes import Mistake


class Cast(Protocol):
    """Who takes part in a run; references are made when they are first asked for, for importing them takes seconds."""

    def subject(self, of: Any) -> Subject:
        """Who is observed: microgpt is the file under test; others as a check's `of` names them, with options."""
        ...

    def patched(self, name: str, mistake: Mistake, of: Any) -> Subject:
        """This repository's own microgpt with a mistake, or Hugging Face's module with one."""
        ...

    def torch(self, edits: dict[str, Any], attention: str, *, like: str, own: bool) -> Subject:
        """PyTorch's decoder of a subject's recipe, with its hyperparameters, or with those of this repository's own."""
        ...

    def huggingface(self) -> Subject:
        """Single modules of transformers that stand beside a subject's."""
        ...

    def paper(self, eps_under_root: float, *, own: bool, activation: str = "gelu tanh") -> Subject:
        """The papers' equations, likewise."""
        ...


def ask(subject: Subject, observable: str, given: dict[str, Any], reading: str) -> Pending:
    """Begin to observe; what the harness computes from other observations is put together when they are there."""
    if not OBSERVABLES[observable].from_others:
        return subject.ask(observable, given, reading)
    asked = derived.requests(observable, given)
    parts = [subject.ask("logits", request, reading) for request in asked]

    def put_together() -> Observation:
        observations = [part() for part in parts]
        odd = next((o for o in observations if o.error or o.skipped), None)
        return odd or Observation(arrays=derived.combine(observable, [o.arrays for o in observations], asked))

    return put_together


@dataclass
class Side:
    """Where the right side of a relation comes from, for one candidate."""

    ask: Callable[[Case, Case], Pending]  # from the case and its counterpart on the right side
    oracle: Oracle
    words: str


def right_side(check: Check, cast: Cast, *, own: bool, itself: Subject | None = None) -> Side:
    """The right side; `own` where a counterexample stands on the left, which `itself` then is."""
    right = check.right
    oracle: Oracle
    if isinstance(right, ItselfSide):
        subject = itself or cast.subject(check.of)
        changes = ", ".join(f"{name} {value}" for name, value in right.itself.given.items())
        return Side(
            lambda _case, other: ask(subject, check.observe, other.inputs, check.reading),
            "itself",
            f"itself with {changes}",
        )
    if right == "torch" or isinstance(right, TorchSide):
        how = right.torch.attention if isinstance(right, TorchSide) else "mask"
        reference, oracle = cast.torch({}, how, like=check.subject, own=own), "independent"
        words = f"torch ({how})" if check.observe in ("attention", "logits", "gradients") else "torch"
    elif right == "paper" or isinstance(right, PaperSide):
        options = right.paper if isinstance(right, PaperSide) else PaperOptions()
        eps, activation = options.eps_under_root, options.activation
        reference, oracle = cast.paper(eps, own=own, activation=activation), "transcription"
        words = f"paper with {eps:g} under the root" if eps else "paper"
        words = f"paper ({activation})" if check.observe == "activation" else words
    elif right == "gpt2" or isinstance(right, Gpt2Side):
        reference, oracle = cast.subject(right), "independent"
        recipe = right.gpt2.recipe if isinstance(right, Gpt2Side) else "gpt2"
        words = "Hugging Face's GPT-2" + (" with every edit toward microgpt" if recipe == "microgpt" else "")
    elif right == "huggingface":
        reference, oracle, words = cast.huggingface(), "independent", "Hugging Face's module"
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


def relate(check: Check, left: Observation, right: Observation, seed: int) -> tuple[Comparison, str]:
    """One case; the comparison, and what could not be decided (empty where all was)."""
    a, b = picked(check, left.arrays), picked(check, right.arrays)
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
    return compare.equals(a, b, bound_of(check), observable.exact_zeros), ""


def bound_of(check: Check) -> Bound:
    """The bound of `equals`: dependencies are there or not, and nothing between."""
    return Bound(kind="exactly") if check.reading == "dependencies" else check.bound


def picked(check: Check, arrays: Arrays) -> Arrays:
    """The array that the check is about, or all of them."""
    return arrays if check.at is None else {n: array for n, array in arrays.items() if n == check.at}


def not_finite(left: Observation, right: Observation, oracle: Oracle) -> str:
    """What an error of arithmetic on the subject's side means; empty where there was none."""
    sides = (left, right) if oracle == "itself" else (left,)
    return next((f"not a finite number: {side.error}" for side in sides if side.error and side.arithmetic), "")


def misnamed(check: Check, left: Observation, right: Observation, oracle: Oracle) -> str:
    """Why `at` names no array, where whoever should have it, by the reference or the literal, does not."""
    expected = left if oracle in ("literal", "itself") else right
    both = oracle == "itself" and check.at in right.arrays
    if check.at is None or check.at in expected.arrays or both:
        return ""
    return f"there is no array {check.at!r}: there are {', '.join(sorted(expected.arrays)) or 'none'}"
