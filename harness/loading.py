"""From YAML files to claims: everything that is odd in a folder is found before anything runs, and reported at once.

Nothing here needs PyTorch, transformers or NumPy: listing and validating claims is quick.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

from harness import evidence, inputs, positioned
from harness.claims import (
    BOUNDS,
    Check,
    Claim,
    Gpt2Side,
    ItselfSide,
    PaperSide,
    Source,
    TorchSide,
    ValueSide,
)
from harness.observables import OBSERVABLES, array_of
from harness.positioned import Document, Path_, Problem, Problems, suggestion
from reference.mistakes import MISTAKES

SUBJECTS = ("microgpt", "gpt2", "gpt1", "torch")
SOURCES_FILE = "sources.yaml"
REFERENCES = {
    "torch": "PyTorch",
    "paper": "the papers' equations",
    "gpt2": "the Hugging Face GPT-2 module",
    "huggingface": "Hugging Face transformers",
}


@dataclass(frozen=True)
class LoadedClaim:
    """A claim, the file that it stands in, and that file's sha256."""

    claim: Claim
    file: str
    sha256: str
    lines: dict[str, int]  # of each check, by id

    @property
    def order(self) -> tuple[bool, int, str]:
        """Sections of the log first, in order; then further claims by name."""
        return self.claim.section is None, self.claim.section or 0, self.claim.id


@dataclass(frozen=True)
class Claims:
    """The claims of a run, and the bibliography that they cite."""

    claims: list[LoadedClaim]
    sources: dict[str, Source]


def load(paths: Iterable[Path]) -> Claims:
    """Read claim files, and folders of them with their sources.yaml. Problems with all that is wrong in them."""
    problems: list[Problem] = []
    paths = list(paths)
    files = _claim_files(paths, problems)
    sources = _sources(files, problems)
    loaded = []
    for file in files:
        try:
            loaded.append(_claim(file, sources))
        except Problems as found:
            problems += found.problems
    problems += _repeated(loaded)
    # A claim that does not load may be the one that cites a source.
    if problems or (problems := list(_unused(paths, loaded))):
        raise Problems(problems)
    return Claims(sorted(loaded, key=lambda item: item.order), sources)


def _claim_files(paths: Iterable[Path], problems: list[Problem]) -> list[Path]:
    files: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*.y*ml") if p.suffix in (".yaml", ".yml") and p.name != SOURCES_FILE)
            files |= dict.fromkeys(found)
        elif path.exists():
            files[path] = None
        else:
            problems.append(Problem(str(path), 1, 1, "no such file or folder. Give a claim file or a folder of them."))
    return list(files)


def _sources(files: list[Path], problems: list[Problem]) -> dict[str, Source]:
    """The bibliographies beside the claim files (or one folder up)."""
    sources: dict[str, Source] = {}
    nearby = dict.fromkeys(folder / SOURCES_FILE for file in files for folder in (file.parent, file.parent.parent))
    for file in nearby:
        if not file.is_file():
            continue
        try:
            document = positioned.read(file)
            _raise_for(document, _check_shape(document, dict[str, Source], ()))
        except Problems as found:
            problems += found.problems
        else:
            sources |= TypeAdapter(dict[str, Source]).validate_python(document.data)
    return sources


def _claim(file: Path, sources: dict[str, Source]) -> LoadedClaim:
    document = positioned.read(file)
    _raise_for(document, _check_shape(document, Claim, ()))
    claim = Claim.model_validate(document.data)
    found = [*_odd_words(claim, sources), *evidence.odd(claim, sources)]
    for i, check in enumerate(claim.checks):
        found += [(("checks", i, *path), message) for path, message in _odd_check(check, document)]
    _raise_for(document, found)
    lines = {check.id: document.places["checks", i][0] for i, check in enumerate(claim.checks)}
    return LoadedClaim(claim, str(file), hashlib.sha256(file.read_bytes()).hexdigest(), lines)


def _repeated(loaded: list[LoadedClaim]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for item in loaded:
        for key, name in ((item.claim.id, f"the id {item.claim.id!r}"), (item.claim.section, "this section")):
            if key is None:
                continue
            if str(key) in first:
                yield Problem(item.file, 1, 1, f"{name} is taken by {first[str(key)]}. Choose another.")
            first.setdefault(str(key), item.file)


def _unused(paths: list[Path], loaded: list[LoadedClaim]) -> Iterator[Problem]:
    """Entries of a bibliography that no claim cites, where all the claims that could are loaded."""
    cited = {item.source for each in loaded for item in each.claim.evidence}
    cited |= {clause.cites for each in loaded for clause in each.claim.words if clause.cites}
    for file in (path / SOURCES_FILE for path in paths if path.is_dir()):
        # Without a claim beside it or one folder down, nothing has read it.
        if file.is_file() and any(file.parent in Path(each.file).parents[:2] for each in loaded):
            document = positioned.read(file)
            for name in document.data:
                if name not in cited:
                    message = f"no claim cites the source {name!r}. Remove it, or cite it as a claim's evidence."
                    yield document.problem((name,), message)


Finding = tuple[Path_, str]


def _raise_for(document: Document, found: Iterable[Finding]) -> None:
    problems = [document.problem(path, message) for path, message in found]
    if problems:
        raise Problems(problems)


# --- shape: keys and types --------------------------------------------------------------------------------------------


def _check_shape(document: Document, model: Any, start: Path_, data: Any = None) -> list[Finding]:
    """What pydantic finds, in words: the path and ``problem. fix``."""
    adapter = TypeAdapter(model)
    try:
        adapter.validate_python(document.data if data is None else data)
    except ValidationError as error:
        return [((*start, *item["loc"]), _in_words(item, model)) for item in error.errors(include_url=False)]
    return []


def _in_words(item: Any, model: Any) -> str:
    kind, loc, context = item["type"], item["loc"], item.get("ctx", {})
    name = next((str(step) for step in reversed(loc) if isinstance(step, str)), "the file")
    value = item["input"]
    if kind == "extra_forbidden":
        return f"unknown key {name!r}. {suggestion(name, _keys_beside(model, loc))}"
    if kind == "missing":
        return f"the key {name!r} is missing. Add it."
    if kind == "literal_error":
        choices = [choice.strip("'") for choice in context["expected"].replace(" or ", ", ").split(", ")]
        return f"unknown value {value!r} for {name!r}. {suggestion(str(value), choices)}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tags = [tag.strip("'") for tag in context.get("expected_tags", "").split(", ") if tag != "'name'"]
        known = [*tags, *(SUBJECTS if name == "of" else REFERENCES if "torch" in tags else BOUNDS)]
        written = value if isinstance(value, str) else ", ".join(value) if isinstance(value, dict) else repr(value)
        return f"{name!r} cannot be {written!r}. {suggestion(str(written), set(known))}"
    types = {
        "string_type": "text",
        "int_type": "a whole number",
        "float_type": "a number",
        "list_type": "a list",
        "dict_type": "a mapping",
        "model_type": "a mapping",
        "model_attributes_type": "a mapping",
    }
    if kind in types:
        return f"{name!r} takes {types[kind]}, not {value!r:.60}. Change the value."
    return f"{name!r}: {item['msg'][:1].lower()}{item['msg'][1:]}, not {value!r:.60}. Change the value."


def _keys_beside(model: Any, loc: tuple[Any, ...]) -> list[str]:
    """The keys that the record at loc takes, found by walking the model along it."""
    known: list[str] = []
    records = _records(model)
    for step in (*loc[:-1], None):
        known = [f.alias or n for record in records for n, f in record.model_fields.items()] or known
        inner = [
            inside
            for record in records
            for n, f in record.model_fields.items()
            if step in (n, f.alias)
            for inside in _records(f.annotation)
        ]
        records = inner or records
    return known


def _records(annotation: Any) -> list[type[BaseModel]]:
    """Every pydantic model inside a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [record for inner in get_args(annotation) for record in _records(inner)]


# --- sense: what the parts refer to -----------------------------------------------------------------------------------


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


def _odd_check(check: Check, document: Document) -> Iterator[Finding]:
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
    given = _odd_given(check, check.given, ("given",), document)
    yield from given
    if check.at is not None and not array_of(observable, check.at):
        yield ("at",), f"{check.observe!r} has no array {check.at!r}. {suggestion(check.at, observable.arrays)}"
    yield from _odd_relation(check)
    if not given and check.reading in ("symbols", "digits") and check.given.get("seeds", 1) != 1:
        yield ("given", "seeds"), "a proof needs no seeds: it is drawn once. Remove the key."
    yield from _odd_counterexamples(check)
    if check.relation in ("equals", "differs") and isinstance(check.right, ItselfSide):
        more = {**check.given, **check.right.itself.given}
        yield from _odd_given(check, more, (check.relation, "itself", "given"), document)


def _odd_given(check: Check, given: dict[str, Any], path: Path_, document: Document) -> list[Finding]:
    model = OBSERVABLES[check.observe].given
    found = _check_shape(document, model, path, data=given)
    if not found:
        try:
            inputs.refuse_impossible(model.model_validate(given))
        except ValueError as error:
            found.append((path, f"{error}. Change the sizes."))
    return found


def _odd_relation(check: Check) -> Iterator[Finding]:
    named = [name for name in ("equals", "differs", "at_most", "at_least") if getattr(check, name) is not None]
    if len(named) != 1:
        what = f"names {' and '.join(named)}" if named else "names no relation"
        raise_at: Path_ = (named[1],) if named else ()
        yield raise_at, f"the check {check.id!r} {what}. Give one of equals, differs, at_most, at_least."
        return
    if check.within is not None and check.relation != "equals":
        yield ("within",), "'within' goes with equals. Remove it, or use 'by' with differs."
    if check.by is not None and check.relation != "differs":
        yield ("by",), "'by' goes with differs. Remove it, or use 'within' with equals."
    if check.relation == "differs" and check.by is None:
        yield ("differs",), "differs needs 'by': {at_least: ..., because: ...}. Say by how much, and why so much."
    if check.relation in ("at_most", "at_least") and check.because is None:
        yield (check.relation,), f"{check.relation} needs 'because'. Say why this limit."
    yield from _odd_side(check)


def _odd_side(check: Check) -> Iterator[Finding]:
    observable, right = OBSERVABLES[check.observe], check.right
    if isinstance(right, (str, TorchSide, PaperSide, Gpt2Side)):
        name = right if isinstance(right, str) else next(iter(type(right).model_fields))
        if name not in observable.references:
            known = suggestion(name, [*observable.references, "value", "itself"])
            yield (check.relation,), f"{REFERENCES[name]} cannot be asked for {check.observe!r}. {known}"
        elif check.reading != "float64" and name != "paper":
            yield (check.relation,), f"a reading in {check.reading!r} is compared with paper. Write equals: paper"
    elif isinstance(right, ValueSide):
        if check.at is None and not isinstance(right.value, dict):
            yield (check.relation,), "a literal value needs 'at', the array that it stands for. Add at: NAME"
    elif isinstance(right, ItselfSide) and check.reading != "float64":
        yield (check.relation,), "only float64 observations are compared with the subject itself. Remove 'in'."
    has_reason = not isinstance(right, (str, TorchSide, PaperSide, Gpt2Side))
    if has_reason and not check.counterexamples:
        fix = "Add counterexamples: [...]; see python -m harness list counterexamples."
        yield (), f"the check {check.id!r} names no counterexample, so nothing shows that it can fail. {fix}"


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
