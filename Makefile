# Needs only python3 (>= 3.11) with venv, and make. PYTHON=python3.13 picks another interpreter.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# the exact versions are for Python 3.11; later Pythons take what resolves (jax 0.12 on 3.12 and 3.13)
PINS := $(shell $(PYTHON) -c 'import sys; print("-c constraints.txt" if sys.version_info[:2] == (3, 11) else "")')
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
WORKERS ?= 2

.PHONY: demo test slow check bench clean

demo: $(VENV)/installed  ## the easy-example sweep on real digits: a figure and a report page
	$(BIN)/mlrisk run easy_examples
	@echo "open the report page named above in a browser"

test: $(VENV)/installed-test  ## the test suite, without the slow tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m "not slow"

slow: $(VENV)/installed-test  ## the slow tests alone
	$(BIN)/python -m pytest -m slow

check: $(VENV)/installed-dev  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(VENV)/installed-bench  ## speed, as ratios to peers and to the matrix-product peak of the same run
	$(BIN)/python -m benchmarks sweep
	$(BIN)/python -m benchmarks flows
	$(BIN)/python -m benchmarks critical
	$(BIN)/python -m benchmarks sensitivity
	$(BIN)/python -m benchmarks colored_mnist

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade "pip>=25.1"

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) $(PINS) --editable .
	@touch $@

$(VENV)/installed-%: $(VENV)/installed
	$(PIP) $(PINS) --group $*
	@touch $@

clean:
	rm -rf $(VENV) build dist
