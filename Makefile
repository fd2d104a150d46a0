# Everything goes through .venv. ARGS is handed on: make run ARGS="--log-level debug", make test ARGS="-k sse".

BIN := .venv/bin
PIP := $(BIN)/pip --quiet --disable-pip-version-check --no-input
SOURCES := setup.py pyproject.toml
WORKERS := $(shell n=$$(nproc); echo $$((n < 8 ? n : 8)))
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile
QUICK := tests/core tests/wire tests/net $(wildcard tests/test_*.py)

.DEFAULT_GOAL := help
.PHONY: help run quick test test-slow coverage test-no-extension fuzz soak storm worst bench format lint types layers check clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' Makefile

run: .venv/.run ## Start pushd in the foreground, with its defaults and ARGS.
	@exec $(BIN)/twistd -n --pidfile= pushd $(ARGS)

quick: .venv/.test ## Run the fast tests: core, wire formats, sockets, settings; under 30 seconds.
	@$(PYTEST) -m "not slow and not system" $(or $(ARGS),$(QUICK))

test: .venv/.test ## Run all tests except the slow ones, or those that ARGS selects.
	@.ci/tools
	@$(PYTEST) -m "not slow" $(ARGS)

test-slow: .venv/.test ## Run the slow tests: storms, faults, long runs; up to 15 minutes.
	@.ci/tools
	@$(PYTEST) -m slow $(ARGS)

# The tests of the worst inputs judge CPU times, which the tracer multiplies.
coverage: .venv/.test ## Measure the branch coverage of all tests within one process; fail below the floor in pyproject.toml.
	@.ci/tools
	@$(PYTEST) -m "not slow and not system" --ignore=tests/worst --cov --cov-report=term $(ARGS)

test-no-extension: .venv/.test ## Run the tests of sockets, hub and transports without the C extension.
	@$(PYTEST) -p tests.without_extension -m "not slow and not system" tests/net tests/transports tests/hub/test_hub.py $(ARGS)

fuzz: .venv/.fuzz ## Try to break parsers and wires, each for FUZZ_SECONDS, and a daemon by 10,000 inputs and 40,000 request streams, which FUZZ_SEED names.
	@$(BIN)/python -m tests.fuzz $(ARGS)
	@FUZZ_INPUTS=10000 FUZZ_SEED=$(or $(FUZZ_SEED),$(shell date +%s)) $(BIN)/python -m pytest -v tests/system/test_mutations.py
	@FRAMING_STREAMS=20000 FRAMING_SEED=$(or $(FUZZ_SEED),$(shell date +%s)) $(BIN)/python -m pytest -v tests/system/test_framing.py

soak: .venv/.test ## Do all at once to a daemon for MINUTES, 30 by default; red on a loss, a double, a leak.
	@$(BIN)/python -m tests.soak $(or $(MINUTES),30)

storm: .venv/.test ## Let crowds of CROWD, 10,000 by default, and dead peers loose on a daemon; red on a bound broken.
	@$(BIN)/python -m tests.storm $(CROWD)

worst: .venv/.test ## Show for how long the worst inputs keep others waiting: all, or those that ARGS names.
	@$(BIN)/python -m tests.worst $(ARGS)

bench: .venv/.run ## Measure pushd beside its peers, for docs/benchmarks.md or as ARGS says.
	@$(BIN)/python -m bench $(or $(ARGS),--out docs/benchmarks.md)

format: .venv/.check ## Format the code with ruff.
	@$(BIN)/ruff format .

lint: .venv/.check ## Check the format and look for mistakes with ruff.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: .venv/.test .venv/.check ## Check the types with mypy.
	@$(BIN)/mypy

layers: .venv/.check ## Check that imports only go downward.
	@$(BIN)/lint-imports --no-logo

check: lint types layers test ## All checks and `make test`: what must pass before a change is sent.

clean: ## Remove what make and the programs it calls have made.
	@rm -rf .venv .coverage* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -prune -exec rm -rf {} +
	@rm -f twisted/plugins/dropin.cache

.venv/.made:
	@.ci/venv
	@touch $@

# Twisted keeps a cache of its plugins; any call of twistd writes it.
.venv/.run: .venv/.made $(SOURCES)
	@echo "pushd: installing into .venv"
	@$(PIP) install -e .
	@$(BIN)/twistd --help >/dev/null
	@touch $@

.venv/.test: .venv/.run
	@echo "pushd: installing what the tests need"
	@$(PIP) install -e '.[test]'
	@touch $@

# Where there is no wheel of atheris, the daemon is fuzzed all the same.
.venv/.fuzz: .venv/.test
	@echo "pushd: installing what fuzzing needs"
	@$(PIP) install --only-binary atheris -e '.[fuzz]' 2>/dev/null || true
	@touch $@

.venv/.check: .venv/.run
	@echo "pushd: installing what the checks need"
	@$(PIP) install -e '.[check]'
	@touch $@
