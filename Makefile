# make demo    a recorded run on real Fashion-MNIST, from nothing
# make test    the tests
# make check   formatting, lint, types and the tests, as CI runs them
# PYTHON=python3.12 make demo   with another Python (3.11 or newer)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2

.PHONY: demo test test-quick check format clean

demo: $(READY)
	$(BIN)/fmnist train --batch 5 --check-gradient --check-magnitude

test: $(READY)
	$(BIN)/pytest -n $(WORKERS)

test-quick: $(READY)
	$(BIN)/pytest -n $(WORKERS) -m "not slow and not keras"

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "fmnist needs Python 3.11 or newer. Received: $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@
