"""The report for a terminal: 80 columns, plain where colour is not wanted, whole in a pipe."""

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.render import words
from harness.results import CheckResult, ClaimResult, Report

_STYLES = {
    "verified": "bold green",
    "qualified": "green",
    "cited": "cyan",
    "refuted": "bold red",
    "unproven": "yellow",
    "broken": "bold magenta",
    "not_about": "dim",
}
_LABELS = {"qualified": "verified*"}


def render(report: Report, console: Console, *, verbose: bool = False) -> None:
    """Print the file observed, a line a claim, qualifications, and whatever keeps a claim from being verified."""
    subject = report.run.subject
    console.print(Text.assemble((subject.file, "bold"), f"  sha256 {subject.sha256[:12]}"))
    console.print(Text(subject.about, style="dim"))
    console.print()
    console.print(_table(report))
    _print_qualifications(report, console)
    for claim in report.claims:
        if verbose:
            _print_checks(claim, console)
        _print_reasons(claim, console)
    _print_evidence(report, console, verbose=verbose)
    console.print()
    console.print(Text(summary(report), style="bold"))


def summary(report: Report) -> str:
    """One sentence: how many claims, and how many of each verdict."""
    counts: dict[str, int] = {}
    for claim in report.claims:
        counts[claim.verdict] = counts.get(claim.verdict, 0) + 1
    parts = [f"{counts[verdict]} {text.lower()}" for verdict, text in words.VERDICTS.items() if verdict in counts]
    numbers = sum(check.compared for claim in report.claims for check in claim.checks)
    plural = "" if len(report.claims) == 1 else "s"
    return f"{len(report.claims)} claim{plural}: {'; '.join(parts)}. {numbers} numbers compared."


def _table(report: Report) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, expand=False, header_style="dim")
    table.add_column("§", justify="right")
    table.add_column("claim", ratio=1, min_width=20)
    table.add_column("verdict", no_wrap=True)
    table.add_column("evidence", no_wrap=True)
    table.add_column("mistakes", justify="right", no_wrap=True)
    for claim in report.claims:
        caught, tried = words.caught(claim)
        label = _LABELS.get(claim.verdict, words.VERDICTS[claim.verdict])
        table.add_row(
            str(claim.section or "–"),
            Text(claim.title),
            Text(label, style=_STYLES[claim.verdict]),
            claim.strongest or "–",
            f"{caught}/{tried}" if tried else "–",
        )
    return table


def _print_qualifications(report: Report, console: Console) -> None:
    for claim in report.claims:
        if claim.verdict == "qualified" and claim.qualification:
            text = Text.assemble(("* ", "green"), (f"{claim.section or claim.id}: ", "bold"), claim.qualification)
            console.print()
            console.print(Padding(text, (0, 0, 0, 2), expand=False))


def _print_checks(claim: ClaimResult, console: Console) -> None:
    console.print()
    console.print(Text(f"{claim.section or ''} {claim.id}".strip(), style="bold"))
    for clause in claim.words:
        console.print(Text(f"  “{clause.text}”: {', '.join([*clause.by, *([clause.cites] if clause.cites else [])])}"))
    for check in claim.checks:
        console.print(Padding(_check(check), (0, 0, 0, 2), expand=False))


def _check(check: CheckResult) -> RenderableType:
    style = {"pass": "green", "fail": "bold red", "error": "bold magenta", "skip": "yellow"}[check.outcome]
    head = Text.assemble((check.outcome, style), f" {check.id}: {check.observe} {check.relation}")
    what = f"{check.compared} numbers, cases: {check.cases}"
    if check.evidence:
        what += f", {check.evidence}"
    if check.observed is not None and check.bound not in ("exactly", "simplifies to 0"):
        what += f"; observed {words.number(check.observed)}, {check.bound} {words.number(check.allowed)}"
    if check.noise is not None:
        what += f", noise {words.number(check.noise)}"
    if nearest := words.subtlest(check):
        what += f", subtlest mistake {words.number(nearest.observed)} ({nearest.name})"
    lines = [head, Text(f"     {what}", style="dim")]
    rejected = sum(c.outcome == "rejected" for c in check.counterexamples)
    controls = sum(c.outcome == "rejected" for c in check.controls)
    tried = f"     rejects {rejected} of {len(check.counterexamples)} mistakes"
    tried += f", {controls} of {len(check.controls)} wrong answers" if check.controls else ""
    lines.append(Text(tried, style="dim"))
    lines += [Text(f"     guard: {guard}", style="dim") for guard in check.guards]
    lines += [Text(f"     note: {note}", style="yellow") for note in check.notes]
    return Group(*lines)


def _print_reasons(claim: ClaimResult, console: Console) -> None:
    if not claim.reasons or claim.verdict == "not_about":
        return
    console.print()
    style = _STYLES[claim.verdict]
    console.print(Text.assemble((words.VERDICTS[claim.verdict], style), f"  {claim.id} ({claim.file})"))
    failed = {check.id for check in claim.checks if check.outcome == "fail"}
    for check in claim.checks:
        if check.id in failed:
            console.print(Padding(_failure(claim, check), (0, 0, 1, 2), expand=False))
    for reason in claim.reasons:
        if reason.split(":")[0] not in failed:
            console.print(Padding(Text(reason), (0, 0, 0, 2), expand=False))


def _failure(claim: ClaimResult, check: CheckResult) -> RenderableType:
    """The fixed slots of a failed check."""
    slots = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    slots.add_column(style="dim", no_wrap=True)
    slots.add_column(overflow="fold")
    slots.add_row("check", Text(f"{claim.id}/{check.id}: {check.observe} {check.relation}", style="bold"))
    slots.add_row("words", Text(words.clauses(claim, check)))
    oracle = f"[{check.relation}; {words.ORACLES[check.oracle]}]"
    if check.worst is not None:
        worst = check.worst
        slots.add_row("observed", Text(f"{words.place(worst)} = {words.precise(worst.observed)}"))
        slots.add_row("expected", Text(f"{words.precise(worst.expected)}  {oracle}"))
        slots.add_row(
            "off by", Text(f"{words.number(worst.off_by)}, allowed {words.number(worst.allowed)} ({check.bound})")
        )
        slots.add_row("case", Text(worst.case))
    if check.message:
        slots.add_row("because", Text(check.message))
    slots.add_row("differ", Text(f"{check.differing} of {check.compared} numbers, cases: {check.cases}"))
    slots.add_row("repeat", Text(check.repeat))
    return slots


def _print_evidence(report: Report, console: Console, *, verbose: bool) -> None:
    """What is no longer where the claim's words have it; all of it where that is asked for."""
    styles = {"gone": "yellow", "ambiguous": "yellow", "historical": "cyan"}
    for claim in report.claims:
        for item in claim.evidence:
            if item.state in styles or verbose:
                console.print()
                text = ": ".join(filter(None, (claim.id, item.where, item.shown)))
                text += f" ({item.message})" if item.message else ""
                console.print(Text.assemble((f"evidence {item.state}  ", styles.get(item.state, "dim")), text))
