# make demo    a recorded run on real Fashion-MNIST, from nothing
# make test    the tests that are quick
# make torture 200 trainings killed at random moments, and 20 on Keras, each resumed and compared
# make bench   fmnist and its peers side by side, into docs/benchmarks*.md
# make notebook  the course as a notebook, in JupyterLab
# make docs    the documentation as a site, into build/docs
# make check   formatting, lint, types and all tests, as CI runs them
# PYTHON=python3.12 make demo   with another Python (3.11 or later)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed# what fmnist needs
READY := $(VENV)/.ready# and what its tests and documents need
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
BENCH_VENV := .venv-bench# the peers are large: apart
BENCH := $(BENCH_VENV)/.ready
WORKERS ?= 2
QUICK := not slow and not keras and not browser

.PHONY: demo test test-slow torture check bench bench-jobs format docs docs-reference docs-notebook docs-studies docs-tutorial notebook clean

demo: $(INSTALLED)
	$(BIN)/fmnist train --batch 5 --check-gradient --check-magnitude

test: $(READY)
	$(BIN)/pytest -n $(WORKERS) -m "$(QUICK)"

test-slow: $(READY)
	$(BIN)/pytest -n $(WORKERS) -m "not ($(QUICK))"

torture: $(READY)
	$(BIN)/python tests/reliability/torture.py --kills 200
	$(BIN)/python tests/reliability/torture.py --kills 20 --engine keras

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test
	$(MAKE) test-slow

notebook: $(INSTALLED)
	$(INSTALL) --editable ".[notebook]"
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/jupyter lab notebooks/fashion_mnist.ipynb

bench-jobs: $(READY)
	$(BIN)/python benchmarks/bench_jobs.py

bench: $(BENCH)
	$(BENCH_VENV)/bin/python benchmarks/bench_epoch.py
	$(BENCH_VENV)/bin/python benchmarks/bench_cnn.py
	$(BENCH_VENV)/bin/python benchmarks/bench_scaling.py
	$(BENCH_VENV)/bin/python benchmarks/bench_busy.py
	$(BENCH_VENV)/bin/python benchmarks/bench_commands.py

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY)
	$(BIN)/sphinx-build -W --keep-going -n -d build/doctrees docs build/docs

docs-reference: $(READY)
	$(BIN)/python docs/make_reference.py

docs-notebook: $(READY)
	$(BIN)/python docs/make_notebook.py

docs-studies: $(READY)
	$(BIN)/python docs/make_studies.py

docs-tutorial: $(READY)
	$(BIN)/python docs/make_tutorial.py

clean:
	rm -rf $(VENV) $(BENCH_VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "fmnist needs Python 3.11 or later. Received: $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable .
	@touch $@

$(BENCH): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[bench]"
	@touch $@

$(READY): $(INSTALLED)
	$(INSTALL) --editable ".[dev]"
	@touch $@
