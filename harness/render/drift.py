"""Drift for a terminal: patterns as rows, releases as columns, what the patterns are below."""

from packaging.version import Version
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.claims import Absent
from harness.drift import Change, Drift, Row


def render(drift: Drift, columns: list[Version], console: Console) -> None:
    """Print the matrix of the given releases, the legend, the changes, and where claims declare otherwise."""
    disagreeing = {(row.number, version) for row, version, _ in drift.disagreements}
    width = max(5, *(len(str(version)) for version in columns)) + 2
    step = max(1, (console.width - 4) // width)
    for start in range(0, len(columns), step):
        part = columns[start : start + step]
        table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
        table.add_column("", justify="right", no_wrap=True)
        for version in part:
            table.add_column(str(version), justify="right", no_wrap=True)
        for row in drift.rows:
            cells = [_cell(drift.lines[row.number, v], (row.number, v) in disagreeing) for v in part]
            table.add_row(str(row.number), *cells)
        console.print(table)
        console.print()
    console.print(Text("a line number: found there; 2×: that often; –: not there; !: declared otherwise", style="dim"))
    for row in drift.rows:
        console.print()
        console.print(Padding(_legend(drift, row), (0, 0, 0, 2), expand=False))
    console.print()
    _print_disagreements(drift, console)


def _cell(lines: list[int] | None, disagrees: bool) -> Text:
    text = "no file" if lines is None else "–" if not lines else str(lines[0]) if len(lines) == 1 else f"{len(lines)}×"
    return Text(f"{text}!" if disagrees else text, style="bold red" if disagrees else "" if lines else "dim")


def _legend(drift: Drift, row: Row) -> Text:
    item = row.item
    kind = f"replaces {row.replaces}: " if row.replaces else "absent: " if isinstance(item, Absent) else ""
    place = f"{row.file}, {item.inside}" if item.inside else row.file
    declared = f", releases {item.releases}" if item.releases else ""
    text = Text.assemble(
        (f"{row.number} ", "bold"), f"{kind}{row.pattern}\n", (f"{row.claim}: {place}{declared}", "dim")
    )
    for change in drift.changes(row):
        text.append(f"\n{_change(drift, change)}")
    return text


def _change(drift: Drift, change: Change) -> str:
    if not drift.releases or drift.between(change):
        what = "comes" if change.appears else "goes"
        return f"{what} between {change.before} and {change.after}; --bisect says where"
    there, not_there = (change.after, change.before) if change.appears else (change.before, change.after)
    return f"{'from' if change.appears else 'up to'} {there}; not in {not_there}"


def _print_disagreements(drift: Drift, console: Console) -> None:
    count = len(drift.examined)
    if not drift.disagreements:
        text = f"What the claims declare agrees with the {count} releases of {drift.package} examined."
        console.print(Text(text, style="bold"))
        return
    grouped: dict[tuple[int, str, str], list[Version]] = {}
    for row, version, message in drift.disagreements:
        grouped.setdefault((row.number, row.claim, message), []).append(version)
    for (number, claim, message), versions in sorted(grouped.items()):
        where = ", ".join(map(str, sorted(versions)))
        console.print(Text.assemble(("declared otherwise  ", "yellow"), f"{number} {claim}, {where}: {message}"))
    text = (
        f"Declared otherwise: {len(grouped)}, in {count} releases of {drift.package}. Mend 'releases' or the pattern."
    )
    console.print(Text(text, style="bold"))
