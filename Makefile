# Two commands: `make verify` runs the claims, `make test` the project's own tests. Both install what they need into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# The releases of transformers that the suite is run against by `make test-matrix`, each in an environment of its own.
RELEASES := 4.57.6 5.24.0

.PHONY: verify test test-matrix lint format figures clean

verify: $(READY)
	$(BIN)/python -m harness run claims/

test: lint
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test-matrix: $(RELEASES:%=.venv-transformers-%/.tested)

.venv-transformers-%/.tested: pyproject.toml constraints.txt FORCE
	$(PYTHON) -m venv .venv-transformers-$*
	grep -viE '^(transformers|huggingface.hub|tokenizers)==' constraints.txt > .venv-transformers-$*/constraints.txt
	.venv-transformers-$*/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint .venv-transformers-$*/constraints.txt transformers==$* --editable '.[dev]'
	.venv-transformers-$*/bin/python -m pytest
	.venv-transformers-$*/bin/python -m harness run claims/ --out .venv-transformers-$*/reports
	@touch $@

FORCE:

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m harness schema > claims/claim.schema.json

# Compares microgpt.py with the original's recorded figures, which need the original's data file: make figures NAMES=FILE
figures: $(READY)
	$(BIN)/python tests/microgpt/figures.py "$(NAMES)"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

clean:
	rm -rf $(VENV) .venv-transformers-* build *.egg-info .pytest_cache .mypy_cache .ruff_cache
