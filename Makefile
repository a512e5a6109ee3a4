# check, test, up: a few verbs run everything. Each makes what it needs first, and a second run
# downloads nothing. Python 3.11 or later and make are all that has to be there.

PYTHON ?= python3
DATA ?= data
CLUSTER ?= data/cluster
WORKERS ?= 0
BIN := .venv/bin
# Every stage, and most of what tests start, is a process: where bytecode may not be kept, as in some
# containers, each of them compiles thousands of modules again before it does anything.
unexport PYTHONDONTWRITEBYTECODE
LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate

.DEFAULT_GOAL := help
.PHONY: help env dev demo chaos up check types test servers cluster down lock clean

help: ## Say what there is
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:[^#]*## /:\t/' | expand -t 12

env: .venv/env.stamp
dev: .venv/dev.stamp

demo: env ## Run one real job through every stage; needs nothing installed
	@$(BIN)/voxrelay demo $(ARGS)

chaos: env ## Fifty jobs, a random process killed every second; ARGS="--log kafka" for the cluster
	@$(BIN)/python -m tests.faults.chaos $(ARGS)

up: env ## Start the relay on this machine
	@$(BIN)/voxrelay up --data $(DATA) $(ARGS)

check: dev ## Lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: ## Lint, types, the whole suite on real servers
	@$(MAKE) --no-print-directory -j2 dev servers
	@$(MAKE) --no-print-directory check
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --durations 40 --durations-min 5 $(ARGS)

servers: ## Find or build Kafka, MinIO and PostgreSQL for tests and `make cluster`
	@$(PYTHON) -m infra.servers

cluster: env servers ## Start Kafka, MinIO, PostgreSQL and four stage processes, without Docker
	@$(BIN)/python -m infra.cluster up $(CLUSTER) $(ARGS)

down: env ## Stop what `make cluster` started and remove its data
	@$(BIN)/python -m infra.cluster down $(CLUSTER)

lock: dev ## Choose the versions anew
	$(LOCK) --upgrade infra/bootstrap.in -o infra/bootstrap.txt
	$(LOCK) --upgrade pyproject.toml --group demo --group cosyvoice3 --group analytics \
		-o requirements.lock
	$(LOCK) --upgrade pyproject.toml --group demo --group cosyvoice3 --group analytics --group dev \
		-c requirements.lock -o requirements-dev.lock
	$(LOCK) --upgrade pyproject.toml --group bench \
		-c requirements-dev.lock -o requirements-bench.lock

clean: ## Remove the environment; data and caches stay
	rm -rf .venv

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "VoxRelay needs Python 3.11 or later: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/env.stamp: requirements.lock infra/bootstrap.txt infra/install.py pyproject.toml | .venv/bin/python
	@$(BIN)/python infra/install.py --ours requirements.lock
	@touch $@

.venv/dev.stamp: requirements-dev.lock .venv/env.stamp
	@$(BIN)/python infra/install.py requirements-dev.lock
	@touch $@
