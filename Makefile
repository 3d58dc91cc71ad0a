# Everything needed is Python >= 3.11 and make. `make compare ARGS="--quick"` hands arguments on.
PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
DOCS := $(wildcard README.md README.zh.md docs)

# Where it is set, every process compiles all of torch anew, which takes longer than most of what it is started for.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: compare test test-full test-all check bench docs gallery site

compare: $(VENV)/.demo
	$(BIN)/saccade compare $(ARGS)

# The everyday suite on all cores, or in one process those of its tests that ARGS names.
PARALLEL := -n logical --maxprocesses 8 --dist worksteal
test: $(VENV)/.dev
	$(BIN)/python -m pytest $(or $(strip $(ARGS)),$(PARALLEL))

# The files that have tests of that kind: collecting the others takes as long as some of the tests.
PROCESSES = $(sort $(shell grep -rl --include='*.py' 'mark\.processes' tests))
# What the everyday suite leaves out. Tests that keep the cores busy by processes of their own follow the others; two files
# at a time, since such tests wait for what they started, and begin with an import on one core.
test-full: $(VENV)/.dev
	@failed=0; set -x; \
	$(BIN)/python -m pytest $(PARALLEL) -m 'full and not processes' || failed=1; \
	$(BIN)/python -m pytest -n 2 --dist loadfile -m processes $(PROCESSES) || failed=1; \
	{ set +x; } 2>/dev/null; exit $$failed

test-all: test test-full

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The examples in docstrings and pages are run, those of Keras on PyTorch; that of the page left out is built and run by
# its own test.
docs: $(VENV)/.dev
	KERAS_BACKEND=torch $(BIN)/python -m pytest --doctest-modules --doctest-glob='*.md' src/saccade $(DOCS) \
	  --ignore-glob='docs/adding-a-mechanism*' $(ARGS)

# site/index.html opens from disk; a warning or a link that leads nowhere fails.
site: $(VENV)/.dev
	$(BIN)/python -m website

gallery: $(VENV)/.dev
	$(BIN)/python -m benchmarks.gallery

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.insertion $(ARGS)

# uv installs in a quarter of pip's time, but does not read pip's settings: where those are needed, pip does it.
# The stamps make a second call quick; what serves `dev` serves `demo` as well.
define install
	@echo "installing saccade with its extra $(1) into $(VENV), about 5 GB and one to two minutes the first time"
	@$(BIN)/python -m pip install -q uv && $(BIN)/uv pip install -q --python $(BIN)/python -e '.[$(1)]' \
	  || { echo "uv could not: trying pip" >&2; $(BIN)/python -m pip install -q -e '.[$(1)]'; }
endef

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(call install,dev)
	@touch $(VENV)/.demo $@

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(call install,demo)
	@touch $@

$(BIN)/python:
	@command -v "$(PYTHON)" >/dev/null || { echo "error: there is no $(PYTHON); \
	install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3.12" >&2; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: saccade needs Python 3.11 or newer, \
	and this is $$("$(PYTHON)" -V 2>&1); name a newer one: make PYTHON=python3.12" >&2; exit 2; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "error: this Python cannot make virtual environments; \
	on Debian and Ubuntu: apt-get install $$("$(PYTHON)" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 2; }
	@"$(PYTHON)" -m venv $(VENV)
