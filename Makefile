# All tools run from .venv. ARGS is passed on: make run ARGS="--log-level debug", make test ARGS="-k sse".

BIN := .venv/bin
PIP := $(BIN)/pip --quiet --disable-pip-version-check --no-input
SOURCES := setup.py pyproject.toml
CLIENT := clients/python
# Tests often wait, for a timeout or for another program: two processes for a core.
WORKERS := $(shell n=$$(nproc); echo $$((n < 5 ? n + n : 8)))
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile
QUICK := tests/core tests/wire tests/net $(wildcard tests/test_*.py)

# Otherwise each daemon that a test starts may have to compile all modules.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help run man quick test test-slow coverage test-no-extension fuzz soak model storm worst bench format lint types layers check dist constraints clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' Makefile

run: .venv/.run ## Run pushd in the foreground, with its default settings and ARGS.
	@exec $(BIN)/twistd -n --pidfile= pushd $(ARGS)

man: .venv/.run ## Write the manual page of pushctl, docs/pushctl.1, after its options have changed.
	@$(BIN)/python -m pushd.ctl.man_page >docs/pushctl.1

quick: .venv/.test ## Run the fast tests (core, wire formats, sockets, settings) in under 30 seconds.
	@$(PYTEST) -m "not slow and not system" $(or $(ARGS),$(QUICK))

test: .venv/.test ## Run all tests except the slow ones, or the tests that ARGS selects.
	@.ci/tools
	@.ci/node
	@$(PYTEST) -p tests.one_browser -m "not slow" $(ARGS)

test-slow: .venv/.test ## Run the slow tests (load, faults, long runs) in up to 15 minutes.
	@.ci/tools
	@.ci/node
	@$(PYTEST) -m slow $(ARGS)

# The tests of the worst inputs judge CPU times, which the tracer multiplies.
coverage: .venv/.test ## Measure the branch coverage of the tests that start no daemon; fail below the floor in pyproject.toml.
	@.ci/tools
	@$(PYTEST) -m "not slow and not system" --ignore=tests/worst --cov --cov-report=term $(ARGS)

test-no-extension: .venv/.test ## Run the tests of sockets, hub and transports without the C extension.
	@$(PYTEST) -p tests.without_extension -m "not slow and not system" tests/net tests/transports tests/hub $(ARGS)

fuzz: .venv/.fuzz ## Fuzz parsers and wires for FUZZ_SECONDS each, and a daemon with 10,000 inputs and 40,000 request streams from FUZZ_SEED.
	@$(BIN)/python -m tests.fuzz $(ARGS)
	@FUZZ_INPUTS=10000 FUZZ_SEED=$(or $(FUZZ_SEED),$(shell date +%s)) $(BIN)/python -m pytest -v tests/system/test_mutations.py
	@FRAMING_STREAMS=20000 FRAMING_SEED=$(or $(FUZZ_SEED),$(shell date +%s)) $(BIN)/python -m pytest -v tests/system/test_framing.py

soak: .venv/.test ## Run a mixed load on a daemon for MINUTES (30 by default); fail on a lost or duplicate message or a leak.
	@$(BIN)/python -m tests.soak $(or $(MINUTES),30)

model: .venv/.test ## Check random runs over all backends, or BACKEND, against a model for MINUTES (1 by default) from SEED, until a fault.
	@$(BIN)/python -m tests.model --minutes $(or $(MINUTES),1) $(if $(BACKEND),--backend $(BACKEND)) $(if $(SEED),--seed $(SEED)) $(ARGS)

storm: .venv/.test ## Load a daemon with CLIENTS clients (10,000 by default) and dead peers; fail when a limit is exceeded.
	@$(BIN)/python -m tests.storm $(CLIENTS)

worst: .venv/.test ## Measure how long the most expensive inputs delay other clients: all inputs, or those that ARGS names.
	@$(BIN)/python -m tests.worst $(ARGS)

bench: .venv/.run ## Compare pushd with other servers, for docs/benchmarks.md or with ARGS.
	@$(BIN)/python -m bench $(or $(ARGS),--out docs/benchmarks.md)

format: .venv/.check ## Format the code with ruff.
	@$(BIN)/ruff format .

lint: .venv/.check ## Check the format and find mistakes with ruff.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: .venv/.test .venv/.check ## Check the types with mypy.
	@$(BIN)/mypy

layers: .venv/.check ## Check that imports only point down.
	@$(BIN)/lint-imports --no-logo

check: lint types layers test ## Run all checks and `make test`, which must pass before a change is submitted.

dist: .venv/.dist ## Build the source archive and the wheels into dist/, and check them.
	@.ci/dist

constraints: .venv/.dist ## Pin the dependencies with their hashes in constraints.txt; ARGS=--upgrade takes the newest versions.
	@.ci/constraints $(ARGS)

clean: ## Remove all generated files.
	@rm -rf .venv .coverage* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -prune -exec rm -rf {} +
	@rm -f twisted/plugins/dropin.cache

.venv/.made:
	@.ci/venv
	@touch $@

# Any call of twistd writes the plugin cache of Twisted.
.venv/.run: .venv/.made $(SOURCES)
	@echo "pushd: installing into .venv"
	@$(PIP) install -e .
	@$(BIN)/twistd --help >/dev/null
	@touch $@

.venv/.test: .venv/.run $(CLIENT)/pyproject.toml
	@echo "pushd: installing the dependencies of the tests"
	@$(PIP) install -e '.[test]' -e $(CLIENT)
	@touch $@

# Without a wheel of atheris, only the daemon is fuzzed.
.venv/.fuzz: .venv/.test
	@echo "pushd: installing the dependencies of fuzzing"
	@$(PIP) install --only-binary atheris -e '.[fuzz]' 2>/dev/null || true
	@touch $@

.venv/.dist: .venv/.run
	@echo "pushd: installing the dependencies of packaging"
	@$(PIP) install -e '.[dist]'
	@touch $@

.venv/.check: .venv/.run
	@echo "pushd: installing the dependencies of the checks"
	@$(PIP) install -e '.[check]'
	@touch $@
