"""One whole run of the real command, shared by the tests that look at its results."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harness import loading

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class OwnRun:
    """What ``python -m harness run claims/`` printed, returned and left."""

    process: subprocess.CompletedProcess[str]
    folder: Path
    report: dict


@pytest.fixture(scope="session")
def bare_claims() -> loading.Claims:
    """The claims without their counterexamples: for tests that ask which claims fail, not whether they could have."""

    def bare(item: loading.LoadedClaim) -> loading.LoadedClaim:
        checks = [check.model_copy(update={"counterexamples": []}) for check in item.claim.checks]
        return replace(item, claim=item.claim.model_copy(update={"checks": checks}))

    loaded = loading.load([ROOT / "claims"])
    return loading.Claims([bare(item) for item in loaded.claims], loaded.sources)


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
