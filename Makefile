# The words that people and CI use. `make` alone prints them.
#
#   ARGS="..." is passed on to pytest, to the demo and to the benchmarks:  make unit ARGS="-k scheduler -x"
#   PYTHON=... names the interpreter that .venv is made with.

SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
CODE := $(wildcard src tests benchmarks examples)
ARGS ?=
# Processes that share the tests: all cores; JOBS=0 runs them in one, which is what a debugger wants.
JOBS ?= auto
PYTEST := $(BIN)/pytest
PYTEST_ALL := $(PYTEST) -n $(JOBS) --dist worksteal

.PHONY: help setup core servers demo format lint format-check style types imports spell unit contract stateful e2e docs \
	test check coverage bench chaos crash damage takeovers schedules fuzz pins changelog clean distclean

help: ## print this list
	@awk -F ':|## ' '/^[a-z][a-z0-9 -]*:.*## / {n = split($$1, names, " "); \
		for (i = 1; i <= n; i++) printf "  make %-11s %s\n", names[i], $$NF}' $(MAKEFILE_LIST)

# --- set-up -------------------------------------------------------------------------------------------------------

setup: ## create .venv with everything that development needs
	@scripts/setup.sh dev

core:
	@scripts/setup.sh core

servers: ## install Redis, PostgreSQL, Chromium, spin and promtool where this user may; tests start their own, private ones
	@scripts/install-servers.sh

demo: core ## set up what a user needs, then show a simulated fleet being switched
	@$(BIN)/switchover demo $(ARGS)

# --- checks -------------------------------------------------------------------------------------------------------

format: setup ## rewrite the code in the house format, with the safe fixes of the linter
	@$(BIN)/ruff check --fix-only --quiet $(CODE)
	@$(BIN)/ruff format $(CODE)

lint: format-check style ## format and style

format-check: setup
	@$(BIN)/ruff format --check $(CODE)

style: setup
	@$(BIN)/ruff check $(CODE)

types: setup ## mypy everywhere, pyright on src and tests/typing, both strict
	@$(BIN)/mypy $(CODE)
	@$(BIN)/pyright

imports: setup ## imports point one way
	@$(BIN)/lint-imports --no-cache --no-logo

spell: setup ## spelling
	@$(BIN)/codespell

unit contract stateful e2e docs: setup ## one folder of the tests
	@$(PYTEST) tests/$@ $(ARGS)

test: setup servers ## all tests
	@$(PYTEST_ALL) $(ARGS)

check: lint types imports spell test ## exactly what CI runs

coverage: setup servers ## all tests with branch coverage; the report is in htmlcov/
	@$(PYTEST_ALL) --cov --cov-report=term --cov-report=html $(ARGS)

# --- longer runs --------------------------------------------------------------------------------------------------

bench: setup ## the benchmarks; ARGS=--quick only tries them out
	@$(BIN)/python -m benchmarks.run $(ARGS)

crash: setup ## kill 500 processes at every kind of place, restart, judge; ARGS=--help says how to see one again
	@$(BIN)/python -m tests.campaigns.crash $(ARGS)

chaos: setup ## kill, freeze and restart drivers, workers and their PostgreSQL at random; ARGS as for crash
	@$(BIN)/python -m tests.campaigns.chaos $(ARGS)

damage: setup ## damage the files of killed processes in very many ways, and open them; ARGS as for crash
	@$(BIN)/python -m tests.campaigns.damage $(ARGS)

takeovers: setup ## kill 20 drivers one after another, with followers and requests beside them, and 3,000 requests at once
	@SWITCHOVER_TEST_ROUNDS=20 SWITCHOVER_TEST_REQUESTS=1000 $(BIN)/pytest -q tests/e2e/test_busy_processes.py $(ARGS)

schedules: setup ## explore interleavings of the engine; ARGS="--count 1000000", or ARGS="--seed 1234" for one of them
	@$(BIN)/python -m tests.schedules.run $(ARGS)

fuzz: setup ## fuzz every door for texts of strangers; ARGS="--door plan --seconds 3600", or --show FILE
	@$(BIN)/python -m tests.fuzz.run $(ARGS)

# --- upkeep -------------------------------------------------------------------------------------------------------

pins: ## resolve constraints.txt anew from pyproject.toml
	@scripts/pin.sh

changelog: setup ## show what the fragments in changes/ will add to the changelog
	@$(BIN)/towncrier build --draft --version next

clean: ## remove caches and reports
	rm -rf .coverage .coverage.* coverage.xml htmlcov build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## clean, and remove .venv
	rm -rf .venv .setup.lock .hypothesis
