# `make demo` and `make test` need Python 3.11 to 3.13 (with venv) and make; they do all set-up.
PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
# Processes that run tests. Each holds up to 2 GB, and a second core is not idle while one imports.
JOBS ?= 2

bin := $(VENV)/bin
installed := $(VENV)/.installed

.PHONY: help demo test quick lint format types check docs clean
.DEFAULT_GOAL := help

help: ## What can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

demo: $(installed) ## The whole chain on the embedded model, into demo/
	$(bin)/edgekit demo -o $(DEMO)

test: $(installed) ## Every test, in JOBS=2 processes
	$(bin)/python -m pytest -n $(JOBS) --dist loadfile

quick: $(installed) ## The tests that take less than ten seconds each
	$(bin)/python -m pytest -n $(JOBS) --dist loadfile -m "not slow"

check: lint types ## Lint, format and types

lint: $(installed) ## ruff, rules and format
	$(bin)/ruff check .
	$(bin)/ruff format --check .

format: $(installed) ## Format the code
	$(bin)/ruff format .

types: $(installed) ## mypy, strict
	$(bin)/mypy

docs: $(installed) ## Write COMMANDS.md from the commands' own help
	$(bin)/python -m edgekit.reference > COMMANDS.md

clean: ## Remove the environment and what was built
	rm -rf $(VENV) demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

# Editable, so that tests and lint see the files as they are; run again only when these change.
$(installed): pyproject.toml setup.cfg constraints.txt
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit(f"error: edgekit needs Python 3.11 to 3.13, $(PYTHON) is {sys.version.split()[0]}. Fix: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): about 3 GB, once; a few minutes."
	$(bin)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@touch $@
