# Every target sets up what it needs. `make help` prints the comments that follow "##".
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
BASE_STAMP := $(VENV)/.base
STAMP := $(VENV)/.ready
.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint types size clean bench-finetune bench-encode bench-quality bench-families
.PHONY: bench-startup bench-loading bench-train-translation bench-translate bench-language

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18

setup: $(STAMP) ## .venv with Regard, every extra and the tools for development

# torch first and alone: pinned to the version the tests know, so that nothing later fetches a CUDA build.
$(BASE_STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(STAMP): $(BASE_STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[all,dev]'
	touch $@

demo: $(BASE_STAMP) ## real weights and real reviews become a classifier: in under 10 minutes, installation included
	$(BIN)/python examples/demo.py

check: lint types test ## all that a change must pass; warnings are errors

lint: $(STAMP) ## style of the code and its layout
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(STAMP) ## types of everything that is not a test
	$(BIN)/mypy src tools examples

test: $(STAMP) ## all tests; one of them: make test ARGS="tests/unit/metrics -k coverage"
	$(BIN)/pytest $(ARGS)

BASE ?= HEAD
size: $(STAMP) ## lines of each package and what changed since a commit: make size BASE=main
	$(BIN)/python tools/size.py $(BASE)

bench-finetune: $(STAMP) ## training speed and memory against transformers; ARGS=--profile shows where the time goes
	$(BIN)/python benchmarks/finetune.py $(ARGS)

bench-encode: $(STAMP) ## prediction speed against transformers and ONNX Runtime
	$(BIN)/python benchmarks/encode.py $(ARGS)

bench-quality: $(STAMP) ## accuracy on SST-2, ChnSentiCorp, TNEWS and TREC; one of them: make bench-quality ARGS=trec
	$(BIN)/python benchmarks/quality.py $(ARGS)

bench-train-translation: $(STAMP) ## training speed and memory of a translator against transformers
	$(BIN)/python benchmarks/train_translation.py $(ARGS)

bench-families: $(STAMP) ## a forward pass of every family against transformers; some: make bench-families ARGS="--only bert,t5"
	$(BIN)/python benchmarks/families.py $(ARGS)

bench-startup: $(STAMP) ## seconds until the command line answers, size of the base installation
	$(BIN)/python benchmarks/startup.py $(ARGS)

bench-loading: $(STAMP) ## seconds and memory until a checkpoint is a model, against transformers
	$(BIN)/python benchmarks/loading.py $(ARGS)

bench-translate: $(STAMP) ## translation speed against transformers and CTranslate2, beam 1 and 4
	$(BIN)/python benchmarks/translate.py $(ARGS)

bench-language: $(STAMP) ## language models from scratch against nanoGPT's loop; ARGS="--only ptb" for the Penn Treebank, in hours
	$(BIN)/python benchmarks/language.py $(ARGS)

clean: ## remove what tools leave behind; .venv and runs stay
	rm -rf build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests tools benchmarks -name __pycache__ -prune -exec rm -rf {} +
