"""In which releases of a package the code that claims lean on is found, and whether claims declare it rightly."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from packaging.version import Version

from harness import evidence, syntax
from harness.claims import Absent, Find, Replacement, Source
from harness.loading import Claims
from harness.packages import Release
from harness.wheels import Wheels

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Row:
    """A pattern that is looked for in every release; what replaces one is a row of its own."""

    number: int
    claim: str
    item: Find | Absent | Replacement
    source: Source
    file: str
    replaces: int | None = None

    @property
    def pattern(self) -> str:
        """What is looked for, as it is shown."""
        return " or ".join(evidence.patterns_of(self.item))


@dataclass(frozen=True)
class Change:
    """Two neighbouring releases of those examined, one of which has the pattern."""

    before: Version
    after: Version
    appears: bool


@dataclass
class Drift:
    """What was found: the lines of each row in each release examined (None where it has no such file)."""

    package: str
    rows: list[Row]
    lines: dict[tuple[int, Version], list[int] | None] = field(default_factory=dict)
    disagreements: list[tuple[Row, Version, str]] = field(default_factory=list)
    releases: list[Version] = field(default_factory=list)  # that are known, where changes were bisected

    @property
    def examined(self) -> list[Version]:
        """The releases that were looked into, in order."""
        return sorted({version for _, version in self.lines})

    def is_there(self, row: Row, version: Version) -> bool:
        """Whether an examined release has the pattern."""
        return bool(self.lines[row.number, version])

    def changes(self, row: Row) -> list[Change]:
        """Where the pattern comes or goes, as closely as it was looked."""
        return [
            Change(a, b, self.is_there(row, b))
            for a, b in pairwise(self.examined)
            if self.is_there(row, a) != self.is_there(row, b)
        ]

    def between(self, change: Change) -> list[Version]:
        """The known releases that lie inside a change; none where it is exact."""
        return [version for version in self.releases if change.before < version < change.after]


def rows_of(claims: Claims, package: str) -> list[Row]:
    """Every pattern that claims look for in a package, each once."""
    rows: list[Row] = []
    for loaded in claims.claims:
        for item in loaded.claim.evidence:
            source = claims.sources.get(item.source)
            if not isinstance(item, Find | Absent) or source is None or source.package != package:
                continue
            if any(row.item == item for row in rows):
                continue
            file = evidence.file_of(item, source)
            rows.append(Row(len(rows) + 1, loaded.claim.id, item, source, file))
            if isinstance(item, Find) and item.replaced_by is not None:
                instead, number = item.replaced_by, len(rows)
                rows.append(Row(number + 1, loaded.claim.id, instead, source, instead.file or file, number))
    return rows


def examine(rows: list[Row], wheels: Wheels, versions: Iterable[Version], *, bisect: bool, progress: Progress) -> Drift:
    """Look for every row in the given versions; with `bisect`, in others until each change is between neighbours.

    Between two releases that were looked into, a pattern is taken to come or go once. Raises WheelError.
    """
    drift = Drift(wheels.package, rows)
    wanted = sorted(set(versions))

    def look(version: Version, total: int) -> None:
        progress(f"{wheels.package} {version}", len(drift.examined), total)
        _look(drift, wheels.release(version), version)

    for version in wanted:
        look(version, len(wanted))
    if bisect:
        progress(f"the releases of {wheels.package}", len(wanted), len(wanted))
        drift.releases = wheels.versions()
        while (middle := _next(drift, wheels)) is not None:
            look(middle, len(drift.examined) + 1)
    return drift


def _next(drift: Drift, wheels: Wheels) -> Version | None:
    """The release that halves the first change that is not exact yet; one that is at hand where there is any."""
    for row in drift.rows:
        for change in drift.changes(row):
            between = drift.between(change)
            if between:
                at_hand = [version for version in between if wheels.has(version)] or between
                return min(at_hand, key=lambda version: abs(between.index(version) - len(between) // 2))
    return None


def _look(drift: Drift, release: Release, version: Version) -> None:
    for row in drift.rows:
        text = release.read(row.file)
        found = None if text is None else syntax.places(text, evidence.patterns_of(row.item), row.item.inside) or []
        drift.lines[row.number, version] = None if found is None else [place.line for place in found]
        if isinstance(row.item, Find | Absent):
            result = evidence.in_release(row.item, row.source, release)
            # Found is no agreement where it carries a message: the claim declares that it is not there.
            if result.state in ("gone", "ambiguous") or (result.state == "found" and result.message):
                drift.disagreements.append((row, version, f"{result.state}: {result.message}"))
