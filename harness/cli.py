"""The command line: ``python -m harness COMMAND``. Only `run` imports what computes."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from harness import describe, judge, loading
from harness.positioned import Problems, suggestion

# Typer brings a click of its own from some version on: the exception is taken from whichever it uses.
_UsageError: type[Exception] = typer.BadParameter.__mro__[2]
CLAIMS = Path("claims")
REPORTS = Path("reports")

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Technical claims about a tiny GPT, as checks that run and that could have failed.",
)

Paths = Annotated[list[Path] | None, typer.Argument(help="claim files, and folders of them (default: claims)")]
Only = Annotated[str, typer.Option(help="ids of claims, or CLAIM/CHECK, joined by commas")]


@app.command()
def run(
    paths: Paths = None,
    only: Only = "",
    subject: Annotated[Path | None, typer.Option(help="another microgpt to observe (a Python file)")] = None,
    out: Annotated[Path, typer.Option(help="folder for results.json")] = REPORTS,
    seed: Annotated[int, typer.Option(min=0, help="of every input that is drawn")] = 0,
    time_limit: Annotated[float, typer.Option(min=0.1, help="seconds that the subject may take for one answer")] = 20.0,
    memory_limit: Annotated[int, typer.Option(min=64, help="MiB that the subject's process may take")] = 2048,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="print nothing but errors")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="print every check")] = False,
) -> None:
    """Observe, compare, reject counterexamples, judge; write results.json.

    Exit codes: 0 all verified; 1 a claim refuted or unproven; 2 usage, or an invalid claim file; 3 a claim broken;
    4 evidence gone or ambiguous; 5 nothing to run; 130 interrupted.
    """
    claims = _load(paths)
    from harness.render import console as console_format  # noqa: PLC0415 - nothing else needs these
    from harness.render import markdown, writing  # noqa: PLC0415
    from harness.results import dump  # noqa: PLC0415

    chosen = frozenset(part.strip() for part in only.split(",") if part.strip())
    if not claims.claims:
        _stop(judge.NOTHING, "there are no claims to run. Start one with: python -m harness new ID")
    from harness import run as running  # noqa: PLC0415
    from harness.subjects.process import Limits  # noqa: PLC0415

    options = running.Options(subject or running.OWN, chosen, seed, Limits(time_limit, memory_limit))
    try:
        writing.check_folder(out)
        with _progress(quiet=quiet) as progress:
            report = running.run(claims, options, progress)
        written = [out / "results.json"]
        writing.replace(written[0], dump(report))
        if markdown.is_whole(report):
            written.append(out / "verification-log.md")
            writing.replace(written[1], markdown.render(report))
    except (running.UnknownClaimError, running.SubjectUnreadableError, writing.Unwritable) as error:
        _stop(judge.USAGE, str(error))
    if not quiet:
        console = Console(highlight=False)
        console_format.render(report, console, verbose=verbose)
        console.print(f"Reports: {', '.join(map(str, written))}", soft_wrap=True)
    raise typer.Exit(report.exit_code)


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help=f"one of: {', '.join(describe.LISTS)}")] = "claims",
    paths: Annotated[list[Path] | None, typer.Argument(help="claim files and folders (default: claims)")] = None,
) -> None:
    """List claims; or observables, counterexamples, probes, relations or sources, with what each means and takes."""
    if what not in describe.LISTS:
        _stop(judge.USAGE, f"nothing to list under {what!r}. {suggestion(what, describe.LISTS)}")
    claims = _load(paths) if what in ("claims", "sources") else loading.Claims([], {})
    _print(describe.LISTS[what](claims))


@app.command()
def explain(
    name: Annotated[str, typer.Argument(metavar="CLAIM[/CHECK]", help="the id of a claim, or of a claim and a check")],
    paths: Annotated[list[Path] | None, typer.Argument(help="claim files and folders (default: claims)")] = None,
) -> None:
    """Say in words what is compared with whom, and why it could fail."""
    claims = _load(paths)
    claim_id, _, check_id = name.partition("/")
    by_id = {item.claim.id: item for item in claims.claims}
    if claim_id not in by_id:
        _stop(judge.USAGE, f"no claim {claim_id!r}. {suggestion(claim_id, by_id)}")
    checks = [check.id for check in by_id[claim_id].claim.checks]
    if check_id and check_id not in checks:
        _stop(judge.USAGE, f"no check {check_id!r} in {claim_id!r}. {suggestion(check_id, checks)}")
    _print(describe.explain(by_id[claim_id], check_id))


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="ID", help="the new claim's id, such as my-claim")],
    folder: Annotated[Path, typer.Option(help="where the file is made")] = CLAIMS,
) -> None:
    """Make a commented claim file to start from."""
    file = folder / f"{name}.yaml"
    if not describe.is_identifier(name):
        _stop(judge.USAGE, f"{name!r} is no id. Use lower-case words joined by hyphens, such as my-claim")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(describe.template(name))
    except FileExistsError:
        _stop(judge.USAGE, f"{file} exists already. Choose another id, or remove it")
    except OSError as error:
        _stop(judge.USAGE, f"{file} cannot be written: {error.strerror}. Give another folder with --folder")
    _print(f"{file} made. Edit it, then: python -m harness validate {file}")


@app.command()
def validate(paths: Paths = None) -> None:
    """Read claim files and report everything that is wrong in them; nothing is run."""
    claims = _load(paths)
    checks = sum(len(item.claim.checks) for item in claims.claims)
    if not claims.claims:
        _stop(judge.NOTHING, "there are no claims. Start one with: python -m harness new ID")
    _print(f"{len(claims.claims)} claims, {checks} checks: valid")


@app.command()
def drift(
    package: Annotated[str, typer.Option(help="the package that the code is looked for in, such as transformers")],
    versions: Annotated[str, typer.Option(help="its releases to look into, joined by commas")],
    paths: Paths = None,
    wheels: Annotated[Path | None, typer.Option(help="folder of wheels, to take them from and keep them in")] = None,
    bisect: Annotated[bool, typer.Option("--bisect", help="fetch more, to see where a pattern comes or goes")] = False,
) -> None:
    """Say in which releases of a package the code that claims lean on is found. Wheels are fetched, never installed.

    Exit codes: 0 the claims declare it so; 2 usage, or a release that cannot be had; 4 they declare it otherwise;
    5 no claim looks into the package.
    """
    claims = _load(paths)
    from harness import drift as drifting  # noqa: PLC0415 - nothing else needs these
    from harness.render import drift as drift_format  # noqa: PLC0415
    from harness.wheels import WheelError, Wheels, parsed  # noqa: PLC0415

    rows = drifting.rows_of(claims, package)
    if not rows:
        known = sorted({source.package for source in claims.sources.values() if source.package}) or ["none"]
        _stop(
            judge.NOTHING, f"no claim looks for code in {package!r}. Packages that are looked into: {', '.join(known)}"
        )
    try:
        columns = parsed(versions)
        with TemporaryDirectory() as temporary, _progress(quiet=False) as progress:
            kept = Wheels(package, wheels or Path(temporary))
            found = drifting.examine(rows, kept, columns, bisect=bisect, progress=progress)
    except WheelError as error:
        _stop(judge.USAGE, str(error))
    drift_format.render(found, columns, Console(highlight=False))
    raise typer.Exit(judge.EVIDENCE if found.disagreements else judge.OK)


@app.command()
def schema(
    what: Annotated[str, typer.Argument(help="claim, or results")] = "claim",
) -> None:
    """Print the JSON Schema of claim files, or of results.json."""
    schemas: dict[str, Callable[[], dict[str, Any]]] = {
        "claim": describe.claim_schema,
        "results": describe.results_schema,
    }
    if what not in schemas:
        _stop(judge.USAGE, f"no schema of {what!r}. {suggestion(what, schemas)}")
    _print(json.dumps(schemas[what](), indent=2, ensure_ascii=False))


def _load(paths: list[Path] | None) -> loading.Claims:
    try:
        return loading.load(paths or [CLAIMS])
    except Problems as found:
        for problem in found.problems:
            print(problem, file=sys.stderr)
        count = len(found.problems)
        _stop(judge.USAGE, f"{count} problem{'s' if count > 1 else ''}; nothing was run")


def _stop(code: int, message: str) -> NoReturn:
    print(f"harness: {message}", file=sys.stderr)
    raise typer.Exit(code)


def _print(text: str) -> None:
    sys.stdout.write(text.rstrip("\n") + "\n")


class _progress:  # noqa: N801 - used as a context manager, like a function
    """A line that says which check is being run, where there is a terminal to show it on."""

    def __init__(self, *, quiet: bool) -> None:
        console = Console(stderr=True, highlight=False)
        self._status = console.status("reading claims") if console.is_terminal and not quiet else None

    def __enter__(self) -> Callable[[str, int, int], None]:
        if self._status:
            self._status.__enter__()
        return self._show

    def _show(self, name: str, done: int, total: int) -> None:
        if self._status:
            self._status.update(f"{done}/{total} {name}")

    def __exit__(self, *exception: Any) -> None:
        if self._status:
            self._status.__exit__(*exception)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code. What the user got wrong is one message, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        result = app(arguments, prog_name="python -m harness", standalone_mode=False)
    except _UsageError as error:
        message = error.format_message().rstrip(".")  # type: ignore[attr-defined]
        print(f"harness: {message}. See python -m harness --help.", file=sys.stderr)
        return judge.USAGE
    except (KeyboardInterrupt, typer.Abort):
        print("harness: interrupted", file=sys.stderr)
        return judge.INTERRUPTED
    return result if isinstance(result, int) else judge.OK
