# Two commands for a fresh clone:  make demo   (install, train, evaluate)   and   make test   (install, run the tests).
# Both need Python >= 3.11 with venv and pip; the tests also need a C++ compiler, for torch.compile and the compiled engine.

SHELL := /bin/sh
PYTHON ?= python3
VENV ?= .venv
LOWEST ?= .venv-lowest
RUN ?= runs/quickstart
WORKERS ?= 2
PYTEST_ARGS ?=
BEGAN := $(shell date +%s)
ISA_ARGS ?=
BUILD_TOOLS := scikit-build-core nanobind cmake ninja

NATIVE := CMakeLists.txt $(wildcard csrc/*/* csrc/*.cpp)

.PHONY: demo test test-isa test-lowest native docs check-python check-compiler lint clean

demo: $(VENV)/.installed
	"$(VENV)/bin/python" tools/demo.py --out "$(RUN)" --began $(BEGAN)

test: check-compiler $(VENV)/.installed-test
	"$(VENV)/bin/python" -m pytest -n $(WORKERS) --dist worksteal -p no:randomly $(PYTEST_ARGS)

# The tests of arithmetic for each instruction set of this machine, with 1 and 2 threads, in a random order.
test-isa: check-compiler $(VENV)/.installed-test
	"$(VENV)/bin/python" tools/test_isa.py $(ISA_ARGS)

# The same tests with the lowest version of every dependency that pyproject.toml promises, build tools included.
# Warnings are no errors here: old packages meet young ones that they did not know.
test-lowest: check-compiler $(LOWEST)/.installed
	"$(LOWEST)/bin/python" -m pytest -n $(WORKERS) --dist worksteal -p no:randomly -W default $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev
	"$(VENV)/bin/ruff" check . && "$(VENV)/bin/ruff" format --check . && "$(VENV)/bin/mypy"

# The book as a site in docs/_build/html. Notebooks run on the way; every warning is an error.
docs: $(VENV)/.installed-docs
	"$(VENV)/bin/python" -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "The book: docs/_build/html/index.html"

# Each installs in one go, because each installation compiles the engine.
$(VENV)/.installed: pyproject.toml constraints.txt $(NATIVE) | check-python
	$(call install,.)
	@touch "$@"

$(VENV)/.installed-test: pyproject.toml constraints.txt $(NATIVE) | check-python
	$(call install,.[test])
	@touch "$(VENV)/.installed" "$@"

$(VENV)/.installed-dev: pyproject.toml constraints.txt $(NATIVE) | check-python
	$(call install,.[dev])
	@touch "$(VENV)/.installed" "$(VENV)/.installed-test" "$@"

$(VENV)/.installed-docs: pyproject.toml constraints.txt $(NATIVE) | check-python
	$(call install,.[docs])
	@touch "$(VENV)/.installed" "$@"

$(LOWEST)/.installed: pyproject.toml tools/lowest.py $(NATIVE) | check-python
	@"$(LOWEST)/bin/python" -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv "$(LOWEST)"
	"$(LOWEST)/bin/python" tools/lowest.py > "$(LOWEST)/lowest.txt"
	"$(LOWEST)/bin/python" -m pip install --quiet --constraint "$(LOWEST)/lowest.txt" $(BUILD_TOOLS)
	"$(LOWEST)/bin/python" -m pip install --quiet --constraint "$(LOWEST)/lowest.txt" --no-build-isolation --editable ".[test]"
	@touch "$@"

define install
	@echo "Installing into $(VENV): PyTorch and the rest are large; the first time takes minutes."
	@"$(VENV)/bin/python" -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv "$(VENV)"
	@"$(VENV)/bin/python" -m pip install --quiet --constraint constraints.txt --editable "$(1)" || { \
	  echo "The installation failed; the lines above say why. If pip cannot reach PyPI, give it a proxy (HTTPS_PROXY=http://host:port)," >&2; \
	  echo "a mirror (PIP_INDEX_URL=https://...), or a folder of wheels (PIP_NO_INDEX=1 PIP_FIND_LINKS=/folder), and run make again." >&2; exit 1; }
	@ls src/spikedriven/kernels/_native.* >/dev/null 2>&1 || { \
	  echo "Note: the C++ engine was not compiled; compiled programs run on PyTorch and are slower. To see why:" >&2; \
	  echo "      \"$(VENV)/bin/python\" -m pip install --verbose --no-deps --editable ." >&2; }
endef

# After a change in csrc: compiles what changed into the source tree of an editable install.
native:
	@"$(VENV)/bin/python" -c "import cmake, nanobind, ninja" 2>/dev/null || "$(VENV)/bin/python" -m pip install --quiet cmake nanobind ninja
	@scripts=$$("$(VENV)/bin/python" -c "import sysconfig; print(sysconfig.get_path('scripts'))") && export PATH="$$scripts:$$PATH" && \
	cmake -S . -B build/native -G Ninja -DSKBUILD_STATE=editable -DPython_EXECUTABLE="$$scripts/python" --log-level=WARNING && \
	cmake --build build/native && cmake --install build/native

check-python:
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
	  echo "Missing: Python. Install Python 3.11 or newer, or say where it is: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Missing: Python 3.11 or newer; $(PYTHON) is $$("$(PYTHON)" --version 2>&1). Try: make PYTHON=python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "Missing: Python's venv and pip modules (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }

check-compiler:
	@command -v "$${CXX:-c++}" >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || command -v clang++ >/dev/null 2>&1 || { \
	  echo "Missing: a C++ compiler, which the tests of torch.compile and of the compiled engine need (on Debian and Ubuntu: apt install g++)" >&2; exit 1; }

clean:
	rm -rf build dist docs/_build .pytest_cache .ruff_cache .mypy_cache .hypothesis
