# The whole of tokentrail from a fresh clone: Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.synced
# Companies often trust a certificate authority of their own in the system store.
export UV_SYSTEM_CERTS ?= 1
UV_VERSION := 0.13.8

.PHONY: setup demo test lint bench chaos lock clean help
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

$(STAMP): requirements-dev.lock pyproject.toml shim/pyproject.toml
	@$(PYTHON) -c 'import sys; v=sys.version_info[:2]; sys.exit(0 if (3,11) <= v <= (3,13) else f"tokentrail needs Python 3.11, 3.12 or 3.13; {sys.executable} is {v[0]}.{v[1]}. Say: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setup: installing the locked packages into $(VENV)"
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --strict requirements-dev.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . -e shim
	@touch $(STAMP)

setup: $(STAMP) ## the environment in .venv

demo: $(STAMP) ## a day of several tenants through the whole pipeline, in under a minute
	@$(BIN)/tokentrail demo

test: $(STAMP) ## every test; real Kafka and ClickHouse, no Docker
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

lint: $(STAMP) ## style, docstrings, types, links
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@cd shim && ../$(BIN)/mypy --strict src

bench: $(STAMP) ## every figure; takes a while (tokentrail bench NAME for one)
	@$(BIN)/tokentrail bench all

chaos: $(STAMP) ## 200 seeded faults over a million events, then the accounts; about an hour
	@$(BIN)/python -m tests.chaos.run --faults 200 --events 1000000 --seed 1 --report docs/reference/reliability.md

clean: ## remove the environment and caches; the servers' data folders stay
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

lock: ## resolve the lock files again (hashes, no addresses)
	$(BIN)/uv pip compile -q --generate-hashes --universal --no-emit-index-url --no-header --extra embedded --extra demo pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --generate-hashes --universal --no-emit-index-url --no-header --extra embedded --extra demo --group dev pyproject.toml shim/pyproject.toml -o requirements-dev.lock
