"""Released packages as wheels: fetched with pip, kept in a folder, read without being installed."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from harness.packages import Release
from harness.positioned import suggestion

TIMEOUT = 600


class WheelError(Exception):
    """A release cannot be had or read; the message says why, and what mends it."""


class Wheels:
    """The releases of one package. Wheels that are in the folder are taken from it, others are fetched into it."""

    def __init__(self, package: str, folder: Path) -> None:
        self.package, self.folder = package, folder

    def has(self, version: Version) -> bool:
        """Whether a release need not be fetched."""
        return self._file(version) is not None

    def release(self, version: Version) -> Release:
        """One release. Raises WheelError where it cannot be fetched, or is no wheel with the package in it."""
        file = self._file(version)
        if file is None:
            self._fetch(version)
            file = self._file(version)
        if file is None:
            raise WheelError(f"pip fetched no wheel of {self.package} {version}. Choose another version.")
        try:
            with ZipFile(file) as wheel:
                names = frozenset(wheel.namelist())
        except (BadZipFile, OSError) as error:
            raise WheelError(f"{file.name} is not a wheel: {error}. Remove it, so that it is fetched again.") from error
        if not any(name.startswith(f"{self.package}/") for name in names):
            raise WheelError(f"{file.name} has no folder {self.package}: it cannot be told where its files are.")

        @cache
        def read(path: str) -> str | None:
            name = f"{self.package}/{path}"
            if name not in names:
                return None
            with ZipFile(file) as wheel:
                return wheel.read(name).decode("utf-8")

        return Release(self.package, str(version), read)

    def versions(self) -> list[Version]:
        """All final releases that pip knows of, in order. Raises WheelError where it knows of none."""
        done = pip("index", "versions", self.package)
        listed = re.search(r"^Available versions: (.+)$", done.stdout, re.MULTILINE)
        if done.returncode or listed is None:
            raise WheelError(f"pip lists no versions of {self.package}: {_reason(done)}")
        found = []
        for name in listed[1].split(","):
            try:
                version = Version(name.strip())
            except InvalidVersion:
                continue
            if not version.is_prerelease:
                found.append(version)
        return sorted(found)

    def _file(self, version: Version) -> Path | None:
        for file in sorted(self.folder.glob("*.whl")):
            try:
                name, found, _, _ = parse_wheel_filename(file.name)
            except InvalidWheelFilename:
                continue
            if (name, found) == (canonicalize_name(self.package), version):
                return file
        return None

    def _fetch(self, version: Version) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        wanted = f"{self.package}=={version}"
        done = pip("download", "--no-deps", "--only-binary", ":all:", "--dest", str(self.folder), wanted)
        if done.returncode == 0:
            return
        known = re.search(r"\(from versions: (?!none)(.+?)\)", done.stderr)
        if known is None:
            raise WheelError(f"{self.package} {version} cannot be fetched: {_reason(done)}")
        near = suggestion(str(version), known[1].split(", ")) if len(known[1]) < 2000 else ""
        closest = near or f"The latest is {known[1].split(', ')[-1]}."
        raise WheelError(f"there is no wheel of {self.package} {version} that pip can fetch. {closest}")


def parsed(versions: str) -> list[Version]:
    """Versions from a list joined by commas, in order, each once; WheelError where one is none."""
    found = set()
    for name in filter(None, map(str.strip, versions.split(","))):
        try:
            found.add(Version(name))
        except InvalidVersion as error:
            raise WheelError(f"{name!r} is no version. Write such as 4.57.6,5.24.0") from error
    if not found:
        raise WheelError("no versions are named. Write such as --versions 4.57.6,5.24.0")
    return sorted(found)


def pip(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run pip in a process of its own; WheelError where it does not end."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise WheelError(f"pip {arguments[0]} did not end within {TIMEOUT} s. Try again.") from error


def _reason(done: "subprocess.CompletedProcess[str]") -> str:
    """Why pip failed, in a sentence."""
    if "No module named pip" in done.stderr:
        return "pip is not installed here. Install it with: python -m ensurepip"
    if re.search(r"Retrying|ConnectionError|Temporary failure|Network is unreachable", done.stderr):
        return "the package index cannot be reached. Check the network, or give a folder of wheels with --wheels"
    errors = re.findall(r"^ERROR: (.+)$", done.stderr, re.MULTILINE)
    return f"{errors[-1] if errors else f'pip ended with code {done.returncode}'}. Check the name of the package"
