"""``python -m microgpt``: train on names.txt, then sample."""

from microgpt.microgpt import run

run()
