# The commands of this repository; `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help chat web train-setup test test-all lint format constraints pictures clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

chat: $(VENV)/.chat ## set everything up and open a consultation in the terminal
	@$(BIN)/sparsedoctor-tui chat

web: $(VENV)/.web ## the same in the browser, on 127.0.0.1
	@$(BIN)/sparsedoctor-web

train-setup: $(VENV)/.train ## set up training, evaluation and verification (torch)

test: $(VENV)/.test ## set everything up and run the tests
	$(BIN)/python -m pytest

test-all: $(VENV)/.test ## the same with the tests that take long
	$(BIN)/python -m pytest -m ""

lint: $(VENV)/.test ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.test ## put the style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints: $(VENV)/.test ## pin what is installed now
	@{ sed -n '/^#/p' constraints.txt; \
	  $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' | grep -v '^setuptools=='; } \
	  > constraints.new && mv constraints.new constraints.txt

clean: ## remove the virtual environment and caches; models and history stay
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache *.egg-info

# One stamp for each set of extras: installed again when the requirements change.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: $(PYTHON) is older than 3.11; run make PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip

$(VENV)/.chat: EXTRAS = demo
$(VENV)/.web: EXTRAS = demo,web
$(VENV)/.train: EXTRAS = demo,train
$(VENV)/.test: EXTRAS = demo,web,train,encrypt,dev
$(VENV)/.chat $(VENV)/.web $(VENV)/.train $(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing (the first time, llama-cpp-python is compiled: about 6 minutes on 2 cores)"
	$(INSTALL) --editable '.[$(EXTRAS)]'
	@mkdir -p $(VENV)/lint && ln -sfn "$(CURDIR)" $(VENV)/lint/sparsedoctor # where mypy finds the package
	@touch $@
