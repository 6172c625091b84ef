# Two commands for a fresh clone:  make demo   (install, train, evaluate)   and   make test   (install, run the tests).
# Both need Python >= 3.11 with venv and pip; the tests also need a C++ compiler, because torch.compile does.

SHELL := /bin/sh
PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/quickstart
WORKERS ?= 2
PYTEST_ARGS ?=

.PHONY: demo test check-python check-compiler lint clean

demo: $(VENV)/.installed
	"$(VENV)/bin/python" tools/demo.py --out "$(RUN)"

test: check-compiler $(VENV)/.installed-test
	"$(VENV)/bin/python" -m pytest -n $(WORKERS) $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev
	"$(VENV)/bin/ruff" check . && "$(VENV)/bin/ruff" format --check . && "$(VENV)/bin/mypy"

$(VENV)/.installed: pyproject.toml constraints.txt | check-python
	@echo "Installing into $(VENV): PyTorch and the rest are large; the first time takes minutes."
	$(PYTHON) -m venv "$(VENV)"
	"$(VENV)/bin/python" -m pip install --quiet --constraint constraints.txt --editable .
	@touch "$@"

$(VENV)/.installed-test: $(VENV)/.installed
	"$(VENV)/bin/python" -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	@touch "$@"

$(VENV)/.installed-dev: $(VENV)/.installed
	"$(VENV)/bin/python" -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch "$@"

check-python:
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
	  echo "Missing: Python. Install Python 3.11 or newer, or say where it is: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Missing: Python 3.11 or newer; $(PYTHON) is $$("$(PYTHON)" --version 2>&1). Try: make PYTHON=python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "Missing: Python's venv and pip modules (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }

check-compiler:
	@command -v "$${CXX:-c++}" >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || command -v clang++ >/dev/null 2>&1 || { \
	  echo "Missing: a C++ compiler, which the tests of torch.compile need (on Debian and Ubuntu: apt install g++)" >&2; exit 1; }

clean:
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
