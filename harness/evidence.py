"""Whether a source still says what a claim leans on: citations for people, and code found by syntax.

Code is looked for in the subject's file, and in the files of installed packages, which are read and never imported.
States: found (file:line); historical (not there, as the claim declares for this release); gone (not there though it
should be, or what should have replaced it is not there); ambiguous (more places than one); cited.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from harness import packages, syntax
from harness.claims import Absent, Cite, Claim, Find, Replacement, Source
from harness.packages import Release
from harness.positioned import Path_, suggestion
from harness.results import EvidenceResult, EvidenceState
from harness.syntax import Place

SUBJECT = "subject"


def search(claim: Claim, path: str, text: str, sources: dict[str, Source]) -> list[EvidenceResult]:
    """The state of each piece of a claim's evidence; `path` and `text` are the subject's file."""
    return [_searched(item, path, text, sources) for item in claim.evidence]


def in_release(item: Find | Absent, source: Source, release: Release) -> EvidenceResult:
    """The state of a piece of evidence in one release of its source's package."""
    look = _look(item, release, file_of(item, source))
    if _undecided(item, look) or covers(item.releases, release.version):
        return _state(item, look)
    if look.places if isinstance(item, Find) else not (look.places or look.problem):
        return look.result(item, "found", f"it is declared for releases {item.releases} alone, and still holds")
    replacement = item.replaced_by if isinstance(item, Find) else None
    over = f"{_named(patterns_of(item))} is declared for releases {item.releases}"
    if replacement is None:
        return look.result(item, "historical", over)
    instead = _look(replacement, release, replacement.file or file_of(item, source))
    if len(instead.places) == 1:
        return instead.result(item, "historical", f"{over}; this stands in its place")
    if instead.places:
        return instead.result(item, "ambiguous", f"{over}; what replaced it is there {len(instead.places)} times")
    if covers(replacement.releases, release.version):
        return instead.result(item, "gone", f"{over}; what replaced it, {instead.missing}")
    return instead.result(item, "historical", f"{over}; what replaced it is declared for {replacement.releases}")


def covers(releases: str | None, version: str) -> bool:
    """Whether a version is among the releases for which something is declared; all are where nothing is."""
    return releases is None or SpecifierSet(releases).contains(version, prereleases=True)


def patterns_of(item: Find | Absent | Replacement) -> list[str]:
    """What is looked for; any of these will do."""
    return [item.absent] if isinstance(item, Absent) else item.find


def file_of(item: Find | Absent, source: Source) -> str:
    """Where in its package it is looked for; the loader makes sure that the evidence or its source names a file."""
    return item.file or source.file or ""


# --- what is wrong with a claim's evidence before anything is looked for ----------------------------------------------


def odd(claim: Claim, sources: dict[str, Source]) -> Iterator[tuple[Path_, str]]:
    """What is wrong with a claim's evidence, found without looking for it: the path and ``problem. fix``."""
    for i, item in enumerate(claim.evidence):
        at: Path_ = ("evidence", i)
        if isinstance(item, Cite):
            if item.source not in sources:
                yield (*at, "source"), f"unknown source {item.source!r}. {suggestion(item.source, sources)}"
            continue
        yield from _odd_place(item, at, sources)
        yield from _odd_patterns(item, (*at, "absent" if isinstance(item, Absent) else "find"))
        yield from _odd_releases(item.releases, (*at, "releases"))
        replacement = item.replaced_by if isinstance(item, Find) else None
        if replacement is not None:
            yield from _odd_patterns(replacement, (*at, "replaced_by", "find"))
            yield from _odd_releases(replacement.releases, (*at, "replaced_by", "releases"))
            if item.releases is None:
                fix = 'Add the releases that have the pattern, such as releases: "<5.2".'
                yield (*at, "replaced_by"), f"'replaced_by' goes with releases. {fix}"


def _odd_place(item: Find | Absent, at: Path_, sources: dict[str, Source]) -> Iterator[tuple[Path_, str]]:
    if item.source == SUBJECT:
        for key in ("file", "releases", "replaced_by"):
            if getattr(item, key, None) is not None:
                yield (*at, key), f"{key!r} goes with a source that names a package. Remove it."
        return
    source = sources.get(item.source)
    if source is None or source.package is None:
        known = [SUBJECT, *(name for name, each in sources.items() if each.package)]
        fix = f"Code is looked for in {', '.join(map(repr, known))}."
        yield (*at, "source"), f"no code can be looked for in {item.source!r}. {fix}"
    elif not file_of(item, source):
        yield at, f"neither this nor the source {item.source!r} names a file. Add file: FOLDER/FILE.py"


def _odd_patterns(item: Find | Absent | Replacement, at: Path_) -> Iterator[tuple[Path_, str]]:
    for pattern in patterns_of(item):
        if not syntax.is_one_node(pattern):
            fix = "Write one that is whole, such as: $X = softmax($$$)"
            yield at, f"the pattern {pattern!r} is not one statement or expression. {fix}"


def _odd_releases(releases: str | None, at: Path_) -> Iterator[tuple[Path_, str]]:
    if releases is None:
        return
    try:
        SpecifierSet(releases)
    except InvalidSpecifier:
        yield at, f'{releases!r} names no releases. Write such as "<5.2", or ">=4.48,<5".'


# --- looking ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Look:
    """What a look into one file came to."""

    file: str
    wanted: str  # the patterns, as they are named in a message
    within: str  # " inside NAME", or nothing
    places: list[Place]
    problem: str = ""  # why nothing can be there

    @property
    def missing(self) -> str:
        """Why it is gone."""
        return self.problem or f"{self.wanted} is not there{self.within}"

    def result(self, item: Find | Absent, state: EvidenceState, message: str = "") -> EvidenceResult:
        """The look as a part of the report."""
        where = ", ".join(f"{self.file}:{place.line}" for place in self.places) or self.file
        shown = self.places[0].shown if self.places else ""
        if isinstance(item, Absent) and not self.places:
            where, shown = f"{where}: not there{self.within}", item.absent
        return EvidenceResult(source=item.source, state=state, where=where, shown=shown, message=message)


def _searched(item: Find | Absent | Cite, path: str, text: str, sources: dict[str, Source]) -> EvidenceResult:
    if isinstance(item, Cite):
        return _cited(item, sources[item.source])
    if item.source == SUBJECT:
        return _state(item, _look_into(item, text, path))
    source = sources[item.source]
    assert source.package is not None  # noqa: S101 - the loader refuses code of a source that names no package
    release = packages.installed(source.package)
    if release is None:
        message = f"{source.package} is not installed. Install it with: pip install {source.package}"
        return EvidenceResult(source=item.source, state="gone", where=source.package, message=message)
    return in_release(item, source, release)


def _cited(item: Cite, source: Source) -> EvidenceResult:
    where = f"{source.authors} ({source.year}), {source.title}, {source.identifier}, {item.locator}"
    return EvidenceResult(source=item.source, state="cited", where=where, shown=item.quote or "")


def _state(item: Find | Absent, look: _Look) -> EvidenceResult:
    """The state where the pattern should hold."""
    if isinstance(item, Absent):
        if look.places:
            return look.result(item, "gone", f"{look.wanted} is there{look.within}, though it should not be")
        # A definition that is not there shows nothing of what is absent from it.
        return look.result(item, "gone" if look.problem else "found", look.problem)
    if _undecided(item, look):
        return look.result(item, "ambiguous", f"it is there {len(look.places)} times{look.within}")
    return look.result(item, "found") if look.places else look.result(item, "gone", look.missing)


def _undecided(item: Find | Absent, look: _Look) -> bool:
    return isinstance(item, Find) and len(look.places) > 1


def _look(item: Find | Absent | Replacement, release: Release, file: str) -> _Look:
    return _look_into(item, release.read(file), f"{release} {file}")


def _look_into(item: Find | Absent | Replacement, text: str | None, label: str) -> _Look:
    within = f" inside {item.inside}" if item.inside else ""
    wanted = _named(patterns_of(item))
    if text is None:
        return _Look(label, wanted, within, [], "there is no such file")
    places = syntax.places(text, patterns_of(item), item.inside)
    if places is None:
        return _Look(label, wanted, within, [], f"no definition of {item.inside}")
    return _Look(label, wanted, within, places)


def _named(patterns: list[str]) -> str:
    return " or ".join(map(repr, patterns))
