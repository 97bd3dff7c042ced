# Commands for people and for .ci/run; `make` lists them.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
SLOW ?= slow and not slurm and not ray and not trackers
REPEATS ?= 10000
DATA ?= data
SEEDS ?= 3
OF ?= laptop
PYTEST := $(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow lint type build packages docs calibrate reference against-timm clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## make the environment in .venv, with the versions of constraints.txt

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vitcli needs Python 3.11 or newer")'
	@echo "making $(VENV): some 6 GB with PyTorch, a few minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup ## measure the paper's Table 8 on the embedded data, three of its five seeds (minutes on two cores)
	$(BIN)/vitcli ablate pos-emb seeds=3

test: setup ## run the tests, but for the slow ones
	$(PYTEST) -m 'not slow'

test-slow: setup ## run the slow tests; some open reports in Chromium
	$(PYTEST) -m '$(SLOW)'

lint: setup ## check format, style and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache

type: setup ## check types
	$(BIN)/mypy

build: setup ## build the wheel and the sdist into dist/
	$(BIN)/python -m build --no-isolation

packages: build ## install the wheel and the sdist for each Python that is here, and train (5 min each)
	.ci/packages.sh

docs: setup ## build the pages of docs/ into site/; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

calibrate: setup ## simulate how often verdicts are wrong (REPEATS=10000: an hour on two cores)
	PYTHONPATH=tests $(BIN)/python tests/calibrate.py $(REPEATS) outputs/reference/calibration.md

reference: setup ## keep the newest report of STUDY, and its runs without weights, in outputs/reference/OF (laptop)
	@test -n "$(STUDY)" || { echo "STUDY=pos-emb: which study?"; exit 2; }
	$(BIN)/python tests/reference.py $(STUDY) outputs/reference/$(OF)/$(STUDY)

against-timm: setup ## train Fashion-MNIST in DATA by timm's train.py at TRAIN_PY, and by vitcli (SEEDS=3: half an hour)
	@test -f "$(TRAIN_PY)" || { echo "TRAIN_PY=$(TRAIN_PY): no such file; it is train.py of timm's repository"; exit 2; }
	$(BIN)/python tests/against_timm.py $(TRAIN_PY) $(DATA) $(SEEDS) outputs/reference/bench/against_timm.md

clean: ## remove the environment and what was built; outputs/ stays
	rm -rf $(VENV) build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
