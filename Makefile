# Two commands: `make demo` and `make test`. Each builds the environment in .venv by itself.
# All paths are relative: make cannot handle a checkout in a directory with a space in its name otherwise.
SHELL := /bin/sh
# make test AIRFLOW=3.2: the same in an environment of its own, .venv-3.2
VENV := .venv$(if $(AIRFLOW),-$(AIRFLOW))
PY := $(VENV)/bin/python
.DEFAULT_GOAL := help
.PHONY: help env demo stop test lint clean
export PYTHONUNBUFFERED := 1
MAKEFLAGS += --no-print-directory

help: ## list the commands
	@sed -n 's/^\([a-z][a-z]*\):.*## /  make \1\t/p' Makefile

env: ## build the virtual environment .venv (the others do it themselves); AIRFLOW=3.2 for .venv-3.2
	@python=$$(sh tools/find_python.sh) && "$$python" tools/build_env.py $(AIRFLOW)

demo: env ## train, serve and gate a model with a real Airflow; KEEP=1 leaves Airflow running
	@$(PY) -m demo.run $(if $(filter-out 0 no false,$(KEEP)),--keep)

stop: ## stop what `make demo KEEP=1` left running
	@test ! -x $(PY) || $(PY) -m demo.run --stop

test: env ## lint, then run every test, two at a time (a part of them, one by one: ARGS="tests/unit -n0")
	@$(PY) -m tests.needs
	@lint=0; $(MAKE) lint || lint=$$?; \
	echo "test: pytest"; $(PY) -m pytest -n 2 --no-loadscope-reorder $(ARGS) && exit $$lint

lint: env ## ruff, mypy, import walls
	@failed=0; step() { echo "lint: $$1"; shift; $(PY) "$$@" || failed=1; }; \
	step "ruff check" -m ruff check --quiet .; \
	step "ruff format" -m ruff format --quiet --check .; \
	step "mypy (strict, the domain)" -m mypy; \
	step "import walls" tools/lint_imports.py --no-cache; \
	step "imports at module top" tools/check_imports.py; \
	exit $$failed

clean: ## remove what the other commands made (.venv, .demo, caches)
	rm -rf .venv .venv.lock .venv-* .demo .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
