# make help lists the targets. Everything lives in .venv and outputs/.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := src tests experiments train.py infer.py
DEMO ?= outputs/demo

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-browser test-cluster lint format clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## create .venv and install d2m with its tools (CPU torch where the index offers it)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): several minutes without output"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@echo "compiling inner loops, so that the first song need not wait for them"
	@$(BIN)/python -c "from d2m.music.compiled import librosa; librosa('beat')"
	@$(BIN)/python -c "from d2m.nets.row_loop import row_loop; row_loop()"
	@touch $@

demo: setup ## train the curriculum on the embedded corpus, dance to songs it never heard, edit one, write a page
	$(BIN)/python -m experiments.demo.run out=$(DEMO)

test: setup ## all tests, but for the two below
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --ignore=tests/browser

test-browser: setup ## the studio's page in headless Chromium (skipped if chromium or chromedriver is missing)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/browser

test-cluster: setup ## jobs of a real SLURM, installed and started for it (Debian, root); else skipped
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m cluster -rs tests/cluster

lint: setup ## style, types, import contracts
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy src
	$(BIN)/lint-imports

format: setup ## apply the style
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

clean: ## remove what runs left behind (not .venv)
	rm -rf outputs multirun .pytest_cache .mypy_cache .ruff_cache
