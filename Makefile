# Each target is the only command needed on a machine that has Python 3.11+ and nothing else of ours.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
# Compiled modules are kept even where the caller forbids it: each process would compile thousands.
export PYTHONDONTWRITEBYTECODE :=
ROOMS := schemas core adapters streams trainer serving local console bench shoploop

.PHONY: setup demo test check bench lock schemas clean

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes --requirement requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --editable .
	touch $@

demo: setup
	$(BIN)/shoploop demo

# The longest files first and in this order, so that no core waits long for the other at the end.
test: setup
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile \
	    --no-loadscope-reorder tests/loop tests/broker tests/unit tests/contract $(ROOMS)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m schemas --check

bench: setup
	$(BIN)/python -m bench floor
	$(BIN)/python -m bench stationary
	$(BIN)/python -m bench drift

lock:
	$(BIN)/uv pip compile --universal --python-version 3.11 --all-extras --generate-hashes \
	    --no-emit-index-url --no-header --quiet pyproject.toml --output-file requirements.lock

schemas: setup
	$(BIN)/python -m schemas

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
