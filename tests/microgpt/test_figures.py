import json
import os
from pathlib import Path

import pytest

from tests.microgpt import figures


def test_the_recorded_figures_belong_to_the_file_as_it_is():
    recorded = json.loads(figures.FIGURES.read_text(encoding="utf-8"))
    assert recorded["sha256"] == figures.digest(), "microgpt.py changed: compare it again with make figures NAMES=FILE"
    assert {name: recorded[name] for name in figures.RECORDED} == figures.RECORDED


@pytest.mark.skipif("MICROGPT_NAMES" not in os.environ, reason="MICROGPT_NAMES does not name the original's data file")
def test_microgpt_reproduces_the_original():
    assert figures.measure(Path(os.environ["MICROGPT_NAMES"])) == figures.RECORDED
