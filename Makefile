# Everything runs from .venv, which `make setup` builds; nothing else needs to be installed.

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.synced

# A uv setting of the caller must not lead it to another interpreter or another environment.
export UV_PROJECT_ENVIRONMENT := $(CURDIR)/$(VENV)
export UV_PYTHON_DOWNLOADS := never
unexport VIRTUAL_ENV UV_PYTHON PYTHONPATH PYTHONHOME
# The suite starts hundreds of processes: each would compile all modules anew, which doubles the time it takes to start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test check fix bench chaos crash-record sim planted lock clean

help: ## List the commands.
	@echo "usage: make COMMAND [PYTHON=python3.12] [ARGS=...]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r name text; do printf '%-14s %s\n' "$$name" "$$text"; done

setup: $(STAMP) ## Build .venv from uv.lock; quick when nothing changed.
	@echo "Ready: $(VENV) matches uv.lock."

$(STAMP): pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
			"Name another one: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		echo "Creating $(VENV) with $$($(PYTHON) --version) ..."; \
		$(PYTHON) -m venv --clear $(VENV) || { \
			echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu install python3-venv." >&2; exit 1; }; }
	@test -x $(BIN)/uv || { echo "Installing uv into $(VENV) ..."; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'; }
	@echo "Installing what uv.lock names ..."
	@$(BIN)/uv sync --quiet --frozen --all-extras --python $(BIN)/python
	@touch $@

demo: $(STAMP) ## Show what outlast does, in one minute and one file.
	@$(BIN)/outlast demo $(ARGS)

test: $(STAMP) ## Run the whole suite, on SQLite and Postgres. ARGS goes to pytest: ARGS="-k queue".
	@$(BIN)/python -m pytest $(ARGS)

check: $(STAMP) ## Format, lint, types, layers and house rules; changes nothing.
	@echo "== format" && $(BIN)/ruff format --check .
	@echo "== lint" && $(BIN)/ruff check .
	@echo "== types" && $(BIN)/mypy
	@echo "== layers" && $(BIN)/lint-imports --no-logo --no-cache
	@echo "== house rules" && $(BIN)/python -m pytest -q tests/test_tidy.py

fix: $(STAMP) ## Mend what a machine can mend.
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(STAMP) ## Measure. ARGS goes to the benchmark: ARGS="--help".
	@$(BIN)/python -m bench $(ARGS)

chaos: $(STAMP) ## Kill, freeze and starve real processes, at full scale; six minutes. ARGS="--help".
	@$(BIN)/python -m chaos $(ARGS)

sim: $(STAMP) ## Simulate clusters on virtual time, from seeds. ARGS="--seeds 1000 --jobs 2"; ARGS="--help".
	@$(BIN)/python -m simulation $(ARGS)

crash-record: $(STAMP) ## Run the rows of docs/crash-record.md; two hours. ARGS="--scale 0.1 --rows R1,R12".
	@$(BIN)/python -m chaos record $(ARGS)

planted: $(STAMP) ## Plant bugs in copies of our code, one by one: each must be found; half an hour. ARGS="--help".
	@$(BIN)/python -m planted $(ARGS)

lock: $(STAMP) ## Resolve uv.lock again after pyproject.toml changed.
	@$(BIN)/uv lock --python $(BIN)/python

clean: ## Delete .venv, caches and build results.
	@rm -rf $(VENV) build dist htmlcov .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
