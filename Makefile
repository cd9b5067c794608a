# What people and .ci/run call. `make demo` works on a machine with only a Python.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SUPPORTED := 3.13 3.12 3.11
CODE := producer worker tests bench docs

# A Python of ours to make the venv with; `make install PYTHON=/path/to/python3.12` overrides.
PYTHON ?= $(shell for python in $(SUPPORTED:%=python%) python3 python; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	2>/dev/null && command -v "$$python" && break; done)

.PHONY: help install demo test chaos check bench docs clean

help: ## Show this.
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

install: $(STAMP) ## Make .venv and install everything into it.

demo: install ## Run 300 prompts through a local stack.
	@$(BIN)/promptyard demo

test: install ## Run every test.
	@$(BIN)/python -m pytest -n 3 --dist loadfile

chaos: install ## Kill workers and Redis under 5,000 jobs, for minutes.
	@$(BIN)/python -m pytest -m chaos tests/chaos

check: install ## Format, lint, types, import rules.
	$(BIN)/ruff format --check $(wildcard $(CODE))
	$(BIN)/ruff check $(wildcard $(CODE))
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install ## Measure against a bare Celery task.
	$(BIN)/python bench/submit.py
	$(BIN)/python bench/cancel.py
	$(BIN)/python bench/overhead.py
	$(BIN)/python bench/in_flight.py
	$(BIN)/python bench/latency_bound.py
	$(BIN)/python bench/quota.py
	$(BIN)/python bench/shared_worker.py
	$(BIN)/python bench/soak.py
	$(BIN)/python bench/routing.py
	$(BIN)/python bench/worker_start.py

docs: install ## Build the documentation into docs/_build.
	@if command -v uv >/dev/null; then \
		uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[docs]'; \
	else \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'; \
	fi
	@$(BIN)/python docs/generate.py --check
	@$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build
	@echo "docs/_build/index.html"

clean: ## Remove what these commands made.
	rm -rf $(VENV) .promptyard .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# Again only when what is to be installed has changed.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11, 3.12 or 3.13 found:" \
		"install one, or say where it is: make install PYTHON=/path/to/python3.12" >&2; exit 1; }
	@if command -v uv >/dev/null; then \
		echo "installing with uv and $(PYTHON) ..."; \
		uv venv --quiet --allow-existing --python "$(PYTHON)" $(VENV) && \
		uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[all]'; \
	else \
		echo "installing with pip and $(PYTHON) ..."; \
		"$(PYTHON)" -m venv $(VENV) && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check \
			-c constraints.txt -e '.[all]'; \
	fi
	@touch $@
