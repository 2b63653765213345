"""Files that are replaced whole or not at all."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path


class Unwritable(Exception):  # noqa: N818 - it says why, and what to do
    """A report cannot be written; the message names the place, the problem and the fix."""


def check_folder(folder: Path) -> None:
    """Make the folder and try to write in it, before anything costly is done; Unwritable where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Unwritable(f"{folder}: cannot be written: {error.strerror}. Give another folder with --out.") from error


def replace(file: Path, text: str) -> None:
    """Write a file beside the old one, then move it into its place; Unwritable where that fails, the old one kept."""
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(file)
    except OSError as error:
        raise Unwritable(f"{file}: cannot be written: {error.strerror}. Give another folder with --out.") from error
    finally:
        if temporary:
            with suppress(OSError):
                Path(temporary).unlink()
