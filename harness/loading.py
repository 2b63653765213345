"""From YAML files to claims: everything that is odd in a folder is found before anything runs, and reported at once.

Nothing here needs PyTorch, transformers or NumPy: listing and validating claims is quick.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from harness import positioned
from harness.claims import Claim, Source
from harness.positioned import Document, Problem, Problems
from harness.sense import odd_sense
from harness.shape import Finding, odd_shape

SOURCES_FILE = "sources.yaml"


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
    sources, sound = _sources(files, problems)
    loaded, documents = [], []
    for file in files:
        try:
            document = positioned.read(file)
            loaded.append(_claim(document, file, sources, sound=sound))
            documents.append(document)
        except Problems as found:
            problems += found.problems
    problems += _repeated(loaded, documents)
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


def _sources(files: list[Path], problems: list[Problem]) -> tuple[dict[str, Source], bool]:
    """The bibliographies beside the claim files, and one folder up, of which the nearer wins; and whether all load."""
    beside = dict.fromkeys(file.parent / SOURCES_FILE for file in files)
    above = dict.fromkeys(file.parent.parent / SOURCES_FILE for file in files)
    sources: dict[str, Source] = {}
    first: dict[str, Path] = {}
    sound = True
    for file in beside | above:
        if not file.is_file():
            continue
        try:
            document = positioned.read(file)
            _raise_for(document, odd_shape(document.data, dict[str, Source]))
        except Problems as found:
            problems += found.problems
            sound = False
            continue
        for name, source in TypeAdapter(dict[str, Source]).validate_python(document.data).items():
            if file in beside and sources.get(name, source) != source:
                message = f"the source {name!r} is another one in {first[name]}. Rename one, or make them the same."
                problems.append(document.problem((name,), message))
            sources.setdefault(name, source)
            first.setdefault(name, file)
    return sources, sound


def _claim(document: Document, file: Path, sources: dict[str, Source], *, sound: bool) -> LoadedClaim:
    """One claim; where a bibliography does not load, it is not asked about what its sources are."""
    _raise_for(document, odd_shape(document.data, Claim))
    claim = Claim.model_validate(document.data)
    _raise_for(document, (f for f in odd_sense(claim, sources) if sound or f[0][-1:] not in (("source",), ("cites",))))
    lines = {check.id: document.places["checks", i][0] for i, check in enumerate(claim.checks)}
    return LoadedClaim(claim, str(file), hashlib.sha256(file.read_bytes()).hexdigest(), lines)


def _repeated(loaded: list[LoadedClaim], documents: list[Document]) -> Iterator[Problem]:
    first: dict[tuple[str, str | int], str] = {}
    for item, document in zip(loaded, documents, strict=True):
        for key, value in (("id", item.claim.id), ("section", item.claim.section)):
            if value is None:
                continue
            if (key, value) in first:
                message = f"the {key} {value!r} is taken by {first[key, value]}. Choose another."
                yield document.problem((key,), message)
            first.setdefault((key, value), item.file)


def _raise_for(document: Document, found: Iterable[Finding]) -> None:
    problems = [document.problem(path, message) for path, message in found]
    if problems:
        raise Problems(problems)


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
