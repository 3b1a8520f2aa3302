# `make demo` needs Python >= 3.11 and make, nothing else. Another Python: `make PYTHON=python3.12 demo`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup dev demo check test test-slow test-all bench docs screenshots

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup: .venv/.installed ## install whenwhere into .venv

dev: .venv/.dev ## the same, with what the tests and checks need

demo: .venv/.installed ## train on clips it renders itself; pictures and numbers in demo/
	$(BIN)/whenwhere demo --out demo

check: .venv/.dev ## style, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: .venv/.dev ## all tests but the slow ones
	$(BIN)/pytest -m "not slow"

test-slow: .venv/.dev ## the slow ones: they train
	$(BIN)/pytest -m slow

test-all: .venv/.dev ## every test
	$(BIN)/pytest

bench: .venv/.installed ## how much faster the hoisted head is
	$(BIN)/whenwhere benchmark head

docs: .venv/.dev ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "wrote site/index.html; open it in a browser"

screenshots: .venv/.dev ## take the pictures of docs/pictures anew; needs Chromium
	$(BIN)/python docs/screenshots.py

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("whenwhere needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + "; try make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c constraints.txt -e .
	touch $@

.venv/.dev: .venv/.installed
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	touch $@
