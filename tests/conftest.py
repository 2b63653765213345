"""One whole run of the real command, shared by the tests that look at its results."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class OwnRun:
    """What ``python -m harness run claims/`` printed, returned and left."""

    process: subprocess.CompletedProcess[str]
    folder: Path
    report: dict


@pytest.fixture(scope="session")
def own_run(tmp_path_factory: pytest.TempPathFactory) -> OwnRun:
    folder = tmp_path_factory.mktemp("own")
    process = subprocess.run(
        [sys.executable, "-m", "harness", "run", "claims/", "--out", str(folder)],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return OwnRun(process, folder, json.loads((folder / "results.json").read_text(encoding="utf-8")))
