# The commands of the README. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
# A mirror given relative to here must still be found by stages that run in a copy (dvc exp --temp, the queue).
ifneq ($(ATLAS_MIRROR),)
export ATLAS_MIRROR := $(realpath $(ATLAS_MIRROR))$(if $(realpath $(ATLAS_MIRROR)),,$(ATLAS_MIRROR))
endif
# Threads that wait for each other give way sooner than by default: as fast on a quiet machine, faster on a
# busy one. Results do not depend on it.
export GOMP_SPINCOUNT ?= 10000
BIN := $(abspath $(VENV))/bin
export PATH := $(BIN):$(PATH)
STAMP := $(VENV)/.installed

.PHONY: help env repro plan gallery readme bench requirements lint format test
.DEFAULT_GOAL := help

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

env: $(STAMP) ## the environment (.venv, pinned by requirements.txt)

$(STAMP): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Name another with PYTHON=python3.12"; exit 1; }
	@echo "making the environment in $(VENV) (about 6 GB: torch brings its CUDA libraries; once)"
	@if command -v uv >/dev/null; then \
	  { [ -x $(BIN)/python ] || uv venv -q --python "$$(command -v $(PYTHON))" $(VENV); } && uv pip install -q --compile-bytecode --python $(BIN)/python -r requirements.txt; \
	else \
	  { [ -x $(BIN)/pip ] || $(PYTHON) -m venv $(VENV); } && $(BIN)/python -m pip install -q -r requirements.txt; \
	fi
	@touch $@

repro: env ## everything, at the scale of params.yaml: SCALE=smoke|cpu|gpu writes another there, RUNS="a b" does only those, JOBS=1 one at a time
	@python src/plan.py $(if $(JOBS),--jobs $(JOBS)) $(if $(SCALE),--scale $(SCALE)) $(RUNS)
	@python src/parallel.py $(if $(JOBS),--jobs $(JOBS)) $(RUNS)
	@$(if $(RUNS),python src/export.py $(RUNS) && python src/gallery.py --partial,echo "open outputs/gallery/index.html in a browser")

plan: env ## what `make repro` would do and cost, without doing it; takes SCALE and RUNS too
	@python src/plan.py $(if $(JOBS),--jobs $(JOBS)) $(if $(SCALE),--scale $(SCALE)) $(RUNS)

gallery: env ## the gallery of whatever runs are there
	@python src/gallery.py --partial

readme: env ## bring the README's table and pictures up to date with results/ and outputs/
	@python src/readme.py

bench: env ## speed beside a plain PyTorch loop and what goes with it, about 17 minutes; PARTS="quality learning" the rest, about 12
	@PYTHONPATH=src KINETO_LOG_LEVEL=99 python -m benchmarks $(PARTS)

# Every file of every release that PyPI holds has its hash there, whatever the machine that this runs on. No address of a
# package index is written: each machine installs from the one that its pip or uv knows.
requirements: ## requirements.txt anew from pyproject.toml, with hashes, by uv; versions stay where they may (UPGRADE=1: the newest)
	@uv pip compile -q --universal --python-version 3.11 --extra remotes --extra dev --generate-hashes --no-annotate \
	  $(if $(UPGRADE),--upgrade) --custom-compile-command 'make requirements' -o requirements.txt pyproject.toml

lint: env ## ruff (lint and format) and mypy
	ruff check .
	ruff format --check .
	mypy

test: env lint ## the tests (about 20 minutes; on MNIST and CIFAR-10 too where ATLAS_MIRROR names a copy of them)
	pytest -n auto --maxprocesses 4 --dist loadfile

format: env ## ruff: mend what can be mended
	ruff check --fix .
	ruff format .
