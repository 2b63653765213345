"""From claims to a report: who takes part, in which order things are begun, and under which circumstances.

All observations of microgpt are begun before PyTorch is imported: two processes work on them meanwhile, one on the file
under test, one on this repository's own copy and its patched versions.
"""

import hashlib
import json
import platform
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from harness import checking, evidence, judge
from harness.claims import Check, Gpt2Options, Gpt2Side, TorchSide
from harness.loading import Claims, LoadedClaim
from harness.results import CheckResult, ClaimResult, Report, Run, SubjectFile
from harness.subjects.base import Inputs, Pending, Subject
from harness.subjects.papers import Papers
from harness.subjects.process import Limits, ProcessSubject, Source
from reference.mistakes import Mistake
from reference.recipe import GPT1, GPT2, MICROGPT, Recipe

ROOT = Path(__file__).resolve().parent.parent
OWN = ROOT / "microgpt" / "microgpt.py"
FIGURES = ROOT / "microgpt" / "figures.json"
_OWN_SETTINGS = ("learning_rate", "beta1", "beta2", "eps_adam")
PACKAGES = ("torch", "transformers", "numpy", "sympy", "mpmath", "pydantic", "ast-grep-py")


@dataclass(frozen=True)
class Options:
    """What a run is asked for."""

    subject: Path = OWN
    only: frozenset[str] = frozenset()  # ids of claims, or claim/check
    seed: int = 0
    limits: Limits = field(default_factory=Limits)

    @property
    def own(self) -> bool:
        """Whether the file under test is this repository's."""
        return self.subject.resolve() == OWN.resolve()


class UnknownClaimError(Exception):
    """`only` names what is not there; the message says what is."""


class SubjectUnreadableError(Exception):
    """The file under test cannot be read; the message says why."""


class RunCast:
    """Who takes part: the subject, this repository's own microgpt, and the references made from their settings."""

    def __init__(self, subject: Source, own: Source, limits: Limits) -> None:
        self._subject, self._mistakes = ProcessSubject(subject, limits), ProcessSubject(own, limits)
        self._own = own
        self._settings = {
            False: self._subject.ask("hyperparameters", {}),
            True: self._mistakes.ask("hyperparameters", {}),
        }
        self._made: dict[Any, Subject] = {}

    def close(self) -> None:
        """End both processes."""
        self._subject.close()
        self._mistakes.close()

    def subject(self, of: Any) -> Subject:
        """Who is observed; microgpt is the file under test."""
        if of == "microgpt":
            return self._subject
        if of == "torch" or isinstance(of, TorchSide):
            how = of.torch.attention if isinstance(of, TorchSide) else "mask"
            return self.torch({}, how, like="microgpt", own=True)
        options = of.gpt2 if isinstance(of, Gpt2Side) else Gpt2Options()
        first = of == "gpt1"

        def make() -> Subject:
            from harness.subjects.huggingface import HuggingFace  # noqa: PLC0415 - transformers takes seconds
            from reference.huggingface import installed  # noqa: PLC0415

            return HuggingFace(installed(), options.attention, options.recipe, first=first)

        return self._later(("gpt2", options, first), make)

    def patched(self, name: str, mistake: Mistake, of: Any) -> Subject:
        """This repository's own microgpt with a mistake, in the process kept for such; or GPT-2's module with one."""
        if of == "microgpt":
            assert mistake.patch is not None  # noqa: S101 - the loader refuses it where a patch is needed
            source = Source(name, f"{self._own.path} with {name}", mistake.patch.apply(self._own.text))
            return _Patched(self._mistakes, source)
        options = of.gpt2 if isinstance(of, Gpt2Side) else Gpt2Options()
        module = mistake.module
        assert module is not None  # noqa: S101 - the loader refuses it where a patch is needed

        def make() -> Subject:
            from harness.subjects.huggingface import HuggingFace  # noqa: PLC0415 - transformers takes seconds
            from reference.huggingface import patched  # noqa: PLC0415

            return HuggingFace(patched(module.file, module.apply), options.attention, options.recipe)

        return self._later(("gpt2", name, options), make)

    def huggingface(self) -> Subject:
        """Single modules of transformers."""
        return self.subject("gpt2")

    def torch(self, edits: dict[str, Any], attention: str, *, like: str, own: bool) -> Subject:
        """PyTorch's decoder of a subject's recipe, edited."""

        def make() -> Subject:
            from harness.subjects.reference import TorchReference  # noqa: PLC0415 - importing PyTorch takes seconds

            recipe = {"gpt2": GPT2, "gpt1": GPT1}.get(like) or self._recipe(own=own)
            return TorchReference(recipe.edited(edits), attention)

        return self._later(("torch", json.dumps(edits, sort_keys=True), attention, like, own), make)

    def paper(self, eps_under_root: float, *, own: bool, activation: str = "gelu tanh") -> Subject:
        """The papers' equations."""

        def make() -> Subject:
            recipe = self._recipe(own=own)
            settings = {name: getattr(recipe, name) for name in ("beta1", "beta2", "eps_adam")}
            return Papers(settings, eps_under_root, activation)

        return self._later(("paper", eps_under_root, own, activation), make)

    def _later(self, key: Any, make: Callable[[], Subject]) -> Subject:
        """A subject that is made when it is first waited for, and once."""
        if key not in self._made:
            self._made[key] = _Later(make)
        return self._made[key]

    def _recipe(self, *, own: bool) -> Recipe:
        """microgpt's recipe with the rate, the betas and the eps that the subject itself says it uses."""
        answer = self._settings[own]().arrays
        known = {name: answer[name] for name in _OWN_SETTINGS if isinstance(answer.get(name), float)}
        return MICROGPT.edited(known)


class _Later:
    """A subject that computes in this process: nothing is imported or computed before an observation is waited for."""

    def __init__(self, make: Callable[[], Subject]) -> None:
        self._make = cache(make)

    def ask(self, observable: str, inputs: Inputs, reading: str = "float64") -> Pending:
        """Put the observation off until it is waited for; it is made once."""
        return cache(lambda: self._make().ask(observable, inputs, reading)())


class _Patched:
    """A patched source in the process of the original."""

    def __init__(self, process: ProcessSubject, source: Source) -> None:
        self._process, self._source = process, source

    def ask(self, observable: str, inputs: Inputs, reading: str = "float64") -> Pending:
        """Begin to observe the patched copy."""
        return self._process.ask(observable, inputs, reading, self._source)


def run(claims: Claims, options: Options, progress: Callable[[str, int, int], None] = lambda *_: None) -> Report:
    """Observe, relate and judge; `progress` is called with the check's name, how many are done, and of how many.

    Raises UnknownClaimError and SubjectUnreadableError.
    """
    began, started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    selected = _selected(claims.claims, options.only)
    own = _source(OWN)
    subject = own if options.own else _source(options.subject)
    cast = RunCast(subject, own, options.limits)
    try:
        under_way = [
            (item, [checking.start(check, cast, options.seed) for check in checks if _is_about(item, options)])
            for item, checks in selected
        ]
        total, done = sum(len(checks) for _, checks in under_way), 0
        results = []
        for item, begun in under_way:
            found = []
            for each in begun:
                progress(f"{item.claim.id}/{each.check.id}", done, total)
                found.append(checking.finish(each, cast, options.seed, _repeat(item, each.check, options)))
                done += 1
            results.append(_claim_result(item, found, claims, subject, options))
        progress("", done, total)
    finally:
        cast.close()
    about = _about(subject, own=options.own)
    circumstances = Run(
        started=started,
        seconds=round(time.monotonic() - began, 3),
        seed=options.seed,
        platform=platform.platform(),
        python=platform.python_version(),
        versions=_versions(),
        git=_commit(),
        subject=SubjectFile(file=subject.path, sha256=_sha256(subject.text), own=options.own, about=about),
    )
    return Report(run=circumstances, claims=results, exit_code=judge.exit_code(results))


def _selected(claims: list[LoadedClaim], only: frozenset[str]) -> list[tuple[LoadedClaim, list[Check]]]:
    known = {item.claim.id for item in claims} | {
        f"{c.claim.id}/{check.id}" for c in claims for check in c.claim.checks
    }
    if unknown := sorted(only - known):
        ids = ", ".join(item.claim.id for item in claims) or "none"
        raise UnknownClaimError(f"no claim or check {', '.join(unknown)}. Claims: {ids}. A check is CLAIM/CHECK.")
    chosen = []
    for item in claims:
        name = item.claim.id
        checks = [check for check in item.claim.checks if not only or only & {name, f"{name}/{check.id}"}]
        if checks:
            chosen.append((item, checks))
    return chosen


def _is_about(item: LoadedClaim, options: Options) -> bool:
    """Whether a claim is about what is observed: with a file in microgpt's place, only those about microgpt are."""
    return options.own or item.claim.about == "microgpt"


def _claim_result(
    item: LoadedClaim, checks: list[CheckResult], claims: Claims, subject: Source, options: Options
) -> ClaimResult:
    claim = item.claim
    verdict, reasons = judge.verdict(claim, checks, about_subject=_is_about(item, options))
    named = {name for clause in claim.words for name in clause.by}
    return ClaimResult(
        id=claim.id,
        section=claim.section,
        about=claim.about,
        title=claim.title,
        claim=" ".join(claim.claim.split()),
        verdict=verdict,
        reasons=reasons,
        qualification=claim.qualification,
        strongest=judge.strongest(verdict, checks),
        file=item.file,
        sha256=item.sha256,
        words=judge.words(claim),
        uncovered=judge.uncovered(claim),
        also_checked=[check.id for check in claim.checks if check.id not in named],
        evidence=evidence.search(claim, subject.path, subject.text, claims.sources),
        gates=options.own,
        checks=checks,
    )


def _repeat(item: LoadedClaim, check: Check, options: Options) -> str:
    parts = ["python -m harness run", item.file, f"--only {item.claim.id}/{check.id}"]
    parts += [] if options.own else [f"--subject {options.subject}"]
    parts += [f"--seed {options.seed}"] if options.seed else []
    return " ".join(parts)


def _source(path: Path) -> Source:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except IsADirectoryError as error:
        raise SubjectUnreadableError(f"{path} is a folder. Give the file that holds the model.") from error
    except OSError as error:
        raise SubjectUnreadableError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    except UnicodeDecodeError as error:
        raise SubjectUnreadableError(f"{path} is not UTF-8 text: byte {error.start}. Give a Python file.") from error
    return Source("subject", _shown(path), text)


def _shown(path: Path) -> str:
    """The path from here where the file lies below, else as it was given."""
    with suppress(ValueError):
        return str(path.resolve().relative_to(Path.cwd()))
    return str(path)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _about(subject: Source, *, own: bool) -> str:
    """Why this file speaks for the original, where it does."""
    if not own:
        return "the file that was given"
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    if figures["sha256"] == _sha256(subject.text):
        return "this repository's rewrite; with the original's data it reproduces the original's recorded figures"
    return "this repository's rewrite, changed since it was last compared with the original's recorded figures"


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def _commit() -> str | None:
    """The commit of this repository, with a mark where the tree has changed since."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],  # noqa: S607
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
