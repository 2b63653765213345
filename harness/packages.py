"""The source files of released packages: read, and never imported."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path


@dataclass(frozen=True)
class Release:
    """One release of a package, and how its files are read: by their path from the package's folder on."""

    package: str
    version: str
    read: Callable[[str], str | None]  # None where the release has no such file

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


def installed(package: str) -> Release | None:
    """The release that is installed; None where there is none. Nothing of the package is imported."""
    try:
        distribution = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return None

    def read(file: str) -> str | None:
        # What the distribution brought comes first: a folder of the same name may lie in the way.
        for folder in (Path(str(distribution.locate_file(package))), *_folders(package)):
            with suppress(FileNotFoundError, NotADirectoryError):
                return (folder / file).read_text(encoding="utf-8")
        return None

    return Release(package, distribution.version, read)


def _folders(package: str) -> list[Path]:
    """Where Python would import a top-level package from: an editable installation is elsewhere."""
    try:
        spec = util.find_spec(package)
    except ValueError:  # a module of that name was loaded by hand
        return []
    return [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
