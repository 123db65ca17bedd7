# Every command of the project; `make help` lists them. CI calls the same ones.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BROKER ?= tansu
MINUTES ?= 20
PEERS := plain faststream quix
PYTEST := $(BIN)/python -m pytest
PARALLEL := -n 2 --dist loadfile

.DEFAULT_GOAL := help

.PHONY: help
help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(READY) ## Make .venv and install everything, pinned and hashed

$(READY): requirements/dev.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
		-r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

.PHONY: demo
demo: $(READY) ## The main job from end to end, proved (BROKER=apache for a real Kafka)
	$(BIN)/projector demo --broker $(BROKER)

.PHONY: up
up: $(READY) ## Start embedded services that stay (BROKER=apache for a real Kafka)
	$(BIN)/projector up --broker $(BROKER)

.PHONY: down
down: $(READY) ## Stop them
	$(BIN)/projector down

.PHONY: test
test: test-unit test-integration test-acceptance test-faults-short ## All tests, on real services

.PHONY: test-unit
test-unit: $(READY) ## Tests without I/O, and of the published contracts
	$(PYTEST) $(PARALLEL) tests/unit tests/contract

.PHONY: test-integration
test-integration: $(READY) ## Tests against one real service each
	$(PYTEST) $(PARALLEL) tests/integration examples/testing

.PHONY: test-acceptance
test-acceptance: $(READY) ## Real processes, killed and cut off
	$(PYTEST) $(PARALLEL) tests/acceptance

.PHONY: test-faults-short
test-faults-short: $(READY)
	$(PYTEST) tests/faults

.PHONY: test-faults
test-faults: $(READY) ## Every fault of the matrix, the marked ones ten times (FAULT_SEED=n repeats a run)
	FAULTS=full $(PYTEST) tests/faults

.PHONY: test-true-reads
test-true-reads: $(READY) ## 100,000 reads by 50 clients while workers die, the cache goes and read models are swapped
	TRUE_READS=100000 $(PYTEST) -s tests/acceptance/test_true_reads.py

.PHONY: soak
soak: $(READY) ## Faults at random, one every 10 s, for MINUTES; then heal, drain, compare
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES)

.PHONY: check
check: $(READY) ## Format, lint, types, layers, published contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m schemas.contracts --check

.PHONY: fix
fix: $(READY) ## Format, mend what a linter can, write the published contracts anew
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python -m schemas.contracts --write

.PHONY: mutants
mutants: $(READY) ## Break the code in known ways; every break has to be caught by a test
	$(BIN)/python -m tests.mutants

.PHONY: bench
bench: $(READY) ## Measure: events per second, share of the COPY limit, latency (real Kafka)
	$(BIN)/python -m bench

.PHONY: requirements
requirements: $(READY) ## Pin the dependencies anew, with hashes
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
		--python-version 3.11 pyproject.toml -o requirements/run.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
		--python-version 3.11 pyproject.toml --extra embedded --group dev -o requirements/dev.txt
	for peer in $(PEERS); do $(BIN)/uv pip compile --quiet --generate-hashes --no-annotate --no-header \
		--no-emit-index-url --python-version 3.11 bench/peers/$$peer/requirements.in \
		-o bench/peers/$$peer/requirements.txt || exit 1; done

.PHONY: clean
clean: ## Remove what was made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
