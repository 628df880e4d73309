# make demo   sets up .venv, trains, erases, audits; prints the path of the report
# make test   the same set-up, then every check: format, lint, types, tests, docs
#
# PYTHON=python3.12 chooses the interpreter. Versions are those of constraints.txt. On Linux, PyPI's torch brings CUDA
# along; set PIP_EXTRA_INDEX_URL to the index of CPU builds that pytorch.org names, and pip takes these instead.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test docs clean

help:
	@sed -n 's/^# //p' Makefile

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("error: Python " + sys.version.split()[0] + " came; expected 3.11 or later; name one, as in: make PYTHON=python3.12")'
	@echo "Setting up .venv with the versions of constraints.txt (a few minutes the first time)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: $(STAMP)
	@$(BIN)/erasable demo

# OMP_NUM_THREADS=1: the tests run in two processes, one per core.
test: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

docs: $(STAMP)
	$(BIN)/python -m erasable.cli.reference docs/cli.md
	$(BIN)/python docs/generate.py

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis demo
