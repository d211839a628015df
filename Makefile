# `make help` says what there is. Everything is installed into .venv with the versions of constraints.txt.

PYTHON ?= python3
VENV ?= .venv
BENCH_VENV ?= .venv-bench
INTEROP_VENV ?= .venv-interop
STORES_VENV ?= .venv-stores
AZURITE = $(STORES_VENV)/node_modules/.bin/azurite-blob
JOBS ?= 2
CORPUS := runs/quickstart-corpus
BIN := $(VENV)/bin
SETUP := pyproject.toml setup.cfg constraints.txt
# Also where the shell says otherwise: hundreds of processes of the tests would compile every module anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo setup test lint unit chaos test-slow interop stores bench clean
.DELETE_ON_ERROR:

help: ## what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

demo: $(VENV)/installed $(CORPUS)/collected ## from text on this computer to a scored model, in some minutes
	$(BIN)/dolma-pipeline run pipelines/quickstart.yaml

setup: $(VENV)/installed-dev ## the development environment: .venv with everything that `make test` needs

test: lint unit ## all that must pass before a change lands; under 10 minutes on 2 cores

lint: $(VENV)/installed-dev ## style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(VENV)/installed-dev ## the tests, the blocks of the documentation among them; without slow ones
	$(BIN)/python -m dolma_pipeline.kernels
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not slow and not interop"

chaos: $(VENV)/installed-dev ## tasks repeated, late, at once, and with workers that are killed; some minutes
	$(BIN)/python -m pytest -m chaos

test-slow: $(VENV)/installed-dev ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

interop: $(VENV)/installed-dev $(INTEROP_VENV)/installed ## OLMo-core, transformers and lm-eval read what is ours, in an environment of its own
	DOLMA_PIPELINE_INTEROP_PYTHON=$(abspath $(INTEROP_VENV))/bin/python $(BIN)/python -m pytest -m interop tests/interop

stores: $(VENV)/installed-dev $(STORES_VENV)/installed ## run folders on emulators of others: moto, and azurite where npm is there
	DOLMA_PIPELINE_MOTO=$(abspath $(STORES_VENV))/bin/moto_server \
	$(if $(wildcard $(AZURITE)),DOLMA_PIPELINE_AZURITE=$(abspath $(AZURITE))) \
	$(BIN)/python -m pytest -k "moto or azurite or emulat" tests/dolma_pipeline/storage tests/pipeline/test_object_stores.py

bench: $(VENV)/installed-dev ## speed beside the program before, Dolma, datatrove and tokenizers; ROWS=run,seed for some
	$(BIN)/python tests/benchmarks/bench.py --peers $(BENCH_VENV) $(if $(ROWS),--rows $(ROWS)) $(if $(SCALE),--scale $(SCALE))

clean: ## what was built and cached; the environments stay (`rm -rf .venv*`), and so do runs
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache results.json
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0] + "; make PYTHON=…" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(SETUP) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train]'
	touch $@

$(VENV)/installed-dev: $(SETUP) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,dev]'
	touch $(VENV)/installed $@

# Collected once: what is installed later would make it another corpus, and the finished run another run.
$(CORPUS)/collected: | $(VENV)/installed
	$(BIN)/dolma-pipeline demo-corpus $(CORPUS)
	touch $@

$(INTEROP_VENV)/installed: constraints.txt
	$(PYTHON) -m venv --clear $(INTEROP_VENV)
	$(INTEROP_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		torch==2.13.0 ai2-olmo-core==3.0.0 transformers==5.24.0 safetensors==0.8.0 lm-eval==0.4.13 accelerate==1.15.0
	touch $@

$(STORES_VENV)/installed: constraints.txt
	$(PYTHON) -m venv --clear $(STORES_VENV)
	$(STORES_VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'moto[server]==5.2.5'
	if command -v npm; then npm install --silent --prefix $(STORES_VENV) azurite@3.35.0; else echo "no npm: without azurite"; fi
	touch $@
