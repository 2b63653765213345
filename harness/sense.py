"""Whether the parts of a claim that has the right shape refer to what there is, and can mean what they say."""

from collections.abc import Iterator
from typing import Any

from harness import evidence, inputs
from harness.claims import Check, Claim, Gpt2Side, ItselfSide, PaperSide, Source, TorchSide, ValueSide
from harness.observables import OBSERVABLES, array_of
from harness.positioned import Path_, shown, suggestion
from harness.shape import REFERENCES, Finding, odd_shape
from reference.mistakes import MISTAKES

PROOFS = ("symbols", "digits")
PAPER_OPTIONS = {"eps_under_root": ("rms_norm", "logits"), "activation": ("activation",)}


def odd_sense(claim: Claim, sources: dict[str, Source]) -> Iterator[Finding]:
    """What is odd in a claim, beyond its keys and types."""
    yield from _odd_words(claim, sources)
    yield from evidence.odd(claim, sources)
    for i, check in enumerate(claim.checks):
        for path, message in _odd_check(check):
            yield ("checks", i, *path), message


def _odd_words(claim: Claim, sources: dict[str, Source]) -> Iterator[Finding]:
    ids = [check.id for check in claim.checks]
    text = " ".join(claim.claim.split())
    for i, clause in enumerate(claim.words):
        if " ".join(clause.text.split()) not in text:
            yield ("words", i, "text"), f"{clause.text!r} does not occur in the claim. Copy the clause to the letter."
        for name in clause.by:
            if name not in ids:
                yield ("words", i, "by"), f"no check {name!r} in this claim. {suggestion(name, ids)}"
        if clause.cites is not None and clause.cites not in sources:
            yield ("words", i, "cites"), f"unknown source {clause.cites!r}. {suggestion(clause.cites, sources)}"
    for i, name in enumerate(ids):
        if name in ids[:i]:
            yield ("checks", i, "id"), f"the check id {name!r} is used twice. Rename one."


def _odd_check(check: Check) -> Iterator[Finding]:
    if check.observe not in OBSERVABLES:
        yield ("observe",), f"unknown observable {check.observe!r}. {suggestion(check.observe, OBSERVABLES)}"
        return
    observable = OBSERVABLES[check.observe]
    if check.subject not in (*observable.subjects, *observable.references):
        known = suggestion(check.subject, observable.subjects)
        yield ("of",), f"{check.subject!r} cannot be asked for {check.observe!r}. {known}"
    if check.reading not in observable.readings:
        known = ", ".join(observable.readings)
        yield ("in",), f"{check.observe!r} cannot be read in {check.reading!r}. It is read in: {known}."
    given = _odd_given(check, check.given, ("given",))
    yield from given
    if not given and check.reading in PROOFS and check.given.get("seeds", 1) != 1:
        yield ("given", "seeds"), "a proof needs no seeds: it is drawn once. Remove the key."
    if check.at is not None and not array_of(observable, check.at):
        yield ("at",), f"{check.observe!r} has no array {check.at!r}. {suggestion(check.at, observable.arrays)}"
    yield from _odd_counterexamples(check)
    named = [name for name in ("equals", "differs", "at_most", "at_least") if getattr(check, name) is not None]
    if len(named) == 1:
        yield from _odd_relation(check)
        yield from _odd_side(check)
        if isinstance(check.right, ItselfSide):
            yield from _odd_itself(check, check.right.itself.given, sound=not given)
    else:
        what = f"names {' and '.join(named)}" if named else "names no relation"
        at: Path_ = (named[1],) if named else ()
        yield at, f"the check {check.id!r} {what}. Give one of equals, differs, at_most, at_least."


# --- what is given ----------------------------------------------------------------------------------------------------


def _odd_given(check: Check, given: dict[str, Any], path: Path_) -> list[Finding]:
    model = OBSERVABLES[check.observe].given
    found = odd_shape(given, model, path)
    if found:
        return found
    for name, items in given.items():
        if isinstance(items, list) and name not in inputs.ONE_CASE:
            twice = [i for i, item in enumerate(items) if item in items[:i]]
            found += [((*path, name, i), f"{name!r} names {shown(items[i])} twice. Remove one.") for i in twice[:1]]
    try:
        inputs.refuse_impossible(model.model_validate(given))
    except ValueError as error:
        found.append((path, f"{error}. Give other sizes, or fewer."))
    return found


def _odd_itself(check: Check, changes: dict[str, Any], *, sound: bool) -> Iterator[Finding]:
    """What is odd in the other circumstances of the subject; `sound` where nothing is in those of the check itself."""
    path: Path_ = (check.relation, "itself", "given")
    both = {**check.given, **changes}
    found = _odd_given(check, both, path)
    # What is given in the check itself is reported there.
    yield from (f for f in found if f[0][len(path) :][:1] in [(name,) for name in changes] or (sound and f[0] == path))
    if not sound or found:
        return
    model = OBSERVABLES[check.observe].given
    here, there = model.model_validate(check.given), model.model_validate(both)
    if here == there:
        fix = "Give what changes."
        yield path, f"the subject is compared with itself where nothing has changed, which says nothing. {fix}"
    elif inputs.count(here) != inputs.count(there):
        what = f"{inputs.count(here)} cases are compared with {inputs.count(there)}"
        yield path, f"{what}, so that they cannot be paired. Give lists of the same lengths, and the same seeds."


# --- the relation and its right side ----------------------------------------------------------------------------------


def _odd_relation(check: Check) -> Iterator[Finding]:
    relation = check.relation
    if check.within is not None and relation != "equals":
        yield ("within",), "'within' goes with equals. Remove it, or use 'by' with differs."
    elif check.within is not None and check.reading != "float64":
        yield ("within",), f"'within' is not looked at in {check.reading!r}, which has no bound. Remove it."
    if check.by is not None and relation != "differs":
        yield ("by",), "'by' goes with differs. Remove it, or use 'within' with equals."
    if relation == "differs" and check.by is None:
        yield ("differs",), "differs needs 'by': {at_least: ..., because: ...}. Say by how much, and why so much."
    if relation in ("at_most", "at_least") and check.because is None:
        yield (relation,), f"{relation} needs 'because'. Say why this limit."
    if check.because is not None and relation in ("equals", "differs"):
        bound = "within: {relative: ..., because: ...}" if relation == "equals" else "by"
        yield ("because",), f"'because' goes with at_most and at_least. Remove it, or give the reason in {bound}"
    if check.reading in PROOFS and relation != "equals":
        yield (relation,), f"{relation} cannot be decided in {check.reading!r}. Use equals, or remove 'in'."
    independent = isinstance(check.right, (str, TorchSide, PaperSide, Gpt2Side))
    if not check.counterexamples and not (relation == "equals" and independent):
        fix = "Add counterexamples: [...]; see python -m harness list counterexamples."
        yield (), f"the check {check.id!r} names no counterexample, so nothing shows that it can fail. {fix}"


def _odd_side(check: Check) -> Iterator[Finding]:
    observable, right = OBSERVABLES[check.observe], check.right
    at: Path_ = (check.relation,)
    if isinstance(right, (str, TorchSide, PaperSide, Gpt2Side)):
        name = right if isinstance(right, str) else next(iter(type(right).model_fields))
        if name not in observable.references:
            known = suggestion(name, [*observable.references, "value", "itself"])
            yield at, f"{REFERENCES[name]} cannot be asked for {check.observe!r}. {known}"
        elif check.reading != "float64" and name != "paper":
            yield at, f"a reading in {check.reading!r} is compared with paper. Write equals: paper"
        elif isinstance(right, PaperSide):
            for option in sorted(right.paper.model_fields_set):
                if check.observe not in PAPER_OPTIONS[option]:
                    fix = f"It goes with {' and '.join(PAPER_OPTIONS[option])}."
                    yield (*at, "paper", option), f"{option!r} changes nothing in {check.observe!r}. {fix}"
    elif isinstance(right, ValueSide):
        if check.reading in PROOFS:
            yield at, f"a reading in {check.reading!r} is compared with paper. Write equals: paper"
        yield from _odd_literal(check, right.value)
    elif isinstance(right, ItselfSide) and check.reading != "float64":
        yield at, "only float64 observations are compared with the subject itself. Remove 'in'."


def _odd_literal(check: Check, value: Any) -> Iterator[Finding]:
    observable = OBSERVABLES[check.observe]
    at: Path_ = (check.relation, "value")
    if not isinstance(value, dict):
        if check.at is None:
            yield at[:1], "a literal value needs 'at', the array that it stands for. Add at: NAME"
        elif not (observable.plain or _numbers(value)):
            yield at, f"{check.observe!r} gives numbers, not {shown(value)}. Write a number, or nested lists of them."
        return
    if not value:
        yield at, "no array is named, so that nothing is compared. Write {value: {NAME: ...}}"
    for name, array in value.items():
        if not array_of(observable, name):
            yield (*at, name), f"{check.observe!r} has no array {name!r}. {suggestion(name, observable.arrays)}"
        elif not (observable.plain or _numbers(array)):
            what = f"{check.observe!r} gives numbers, not {shown(array)}"
            yield (*at, name), f"{what}. Write a number, or nested lists of them."
    if check.at is not None and value and check.at not in value:
        yield ("at",), f"the literal names {', '.join(value)}, and not {check.at!r}. Remove 'at', or the braces."


def _numbers(value: Any) -> bool:
    """Whether it is a number, or nested lists of nothing else."""
    if isinstance(value, list):
        return bool(value) and all(map(_numbers, value))
    return isinstance(value, int | float) and not isinstance(value, bool)


# --- counterexamples --------------------------------------------------------------------------------------------------


def _odd_counterexamples(check: Check) -> Iterator[Finding]:
    in_torch = check.reading == "float64" and "torch" in OBSERVABLES[check.observe].references
    for i, name in enumerate(check.counterexamples):
        if name not in MISTAKES:
            yield ("counterexamples", i), f"unknown counterexample {name!r}. {suggestion(name, MISTAKES)}"
        elif name in check.counterexamples[:i]:
            yield ("counterexamples", i), f"{name!r} is named twice. Remove one."
        else:
            mistake = MISTAKES[name]
            patch = mistake.patch if check.subject == "microgpt" else mistake.module
            if patch is None and not (mistake.recipe and in_torch):
                what = f"{check.observe!r} of {check.subject!r} in {check.reading!r}"
                fix = "Use one that is a patch of it: python -m harness list counterexamples."
                yield ("counterexamples", i), f"{name!r} cannot be made where {what} is observed. {fix}"
