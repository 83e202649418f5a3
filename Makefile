# The commands of the README. `make help` lists them. It keeps to what macOS ships: GNU make 3.81 and bash 3.2.
SHELL := /bin/bash
# The environment that `make env` makes; VENV=none takes the Python that is active, as it is.
VENV ?= .venv
ifeq ($(VENV),none)
PYTHON ?= python
else
ifneq ($(word 2,$(VENV)),)
$(error VENV: found '$(VENV)'; allowed: a folder without blanks in its name, or none)
endif
PYTHON ?= python3
BIN := $(abspath $(VENV))/bin
STAMP := $(VENV)/.installed
export PATH := $(BIN):$(PATH)
endif
# Of this checkout, whichever one the environment was made for.
export PYTHONPATH := $(CURDIR)/src$(if $(PYTHONPATH),:$(PYTHONPATH))
# A mirror given relative to here must still be found by stages that run in a copy (dvc exp --temp, the queue).
ifneq ($(ATLAS_MIRROR),)
export ATLAS_MIRROR := $(shell cd "$(ATLAS_MIRROR)" 2>/dev/null && pwd || echo "$(ATLAS_MIRROR)")
endif
# An account without a name, as in a container started with another's number: DVC wants one.
export LOGNAME ?= $(shell id -un 2>/dev/null || id -u)
# Threads that wait for each other give way sooner than by default: as fast on a quiet machine, faster on a busy one.
# Results do not depend on it.
export GOMP_SPINCOUNT ?= 10000

CORES := $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
# Runs at a time: small networks use two cores better as two trainings of one thread. Each takes about 1 GB. On a GPU,
# which one small network leaves mostly idle, as many as its memory holds at 6 GB each, one a core, and at most 8.
ifneq ($(ATLAS_DEVICE),cpu)
GPU_MB := $(shell nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits 2>/dev/null | grep -E -m 1 '^[0-9]+$$')
endif
JOBS ?= $(shell printf '%s\n' $(CORES) $(if $(GPU_MB),8 $$(($(GPU_MB) / 6000 + 1)),4) | sort -n | head -n 1)
CHECK = python scripts/check.py --jobs $(JOBS) $(if $(SCALE),--scale $(SCALE)) $(RUNS)

.PHONY: help ready env repro plan gallery readme bench requirements lint format test test-all data gather
.DEFAULT_GOAL := help

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-14s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: ready $(STAMP) ## the environment (.venv, pinned by requirements.txt)

ready:
	@$(PYTHON) scripts/ready.py $(VENV)

# pip unpacks gigabytes: in the environment's folder, for /tmp may be small.
$(STAMP): requirements.txt | ready
	@echo "making the environment in $(VENV) (once; on Linux about 6 GB, for torch brings its CUDA libraries)"
	@mkdir -p $(VENV)/tmp; export TMPDIR="$(dir $(BIN))tmp"; \
	if command -v uv >/dev/null; then \
	  { [ -x "$(BIN)/python" ] || uv venv -q --allow-existing --python "$$(command -v $(PYTHON))" $(VENV); } && \
	  uv pip install -q --compile-bytecode --python "$(BIN)/python" -r requirements.txt; \
	else \
	  { [ -x "$(BIN)/pip" ] || $(PYTHON) -m venv $(VENV); } && "$(BIN)/python" -m pip install -q -r requirements.txt; \
	fi
	@rm -rf $(VENV)/tmp
	@# The project itself, editable, with nothing written into the checkout. A shared environment stays with its first.
	@path="$$("$(BIN)/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/latent-atlas.pth"; \
	  [ -d "$$(cat "$$path" 2>/dev/null)" ] || echo "$(CURDIR)/src" > "$$path"
	@touch $@

repro: env ## everything, at the scale of params.yaml: SCALE=smoke|cpu|night|gpu writes another there, RUNS="a b" does only those, JOBS=1 one at a time
	@# exec: where the shell stays between two makes, as that of macOS does, a signal ends there. -k: a run that fails does
	@# not keep the others from being done.
	@outdated="$$($(CHECK))" && exec $(MAKE) -k --no-print-directory -j $(JOBS) gather OUTDATED="$$outdated"

# What scripts/check.py found: data and judges first, then several runs at a time, then what gathers all runs. DVC's
# lock keeps the runs from disturbing one another.
POOL := $(filter run@%,$(OUTDATED))
DATA := $(filter download@% train_judge@%,$(OUTDATED))
# Each run its share of the machine.
THREADS = $(shell runs=$(words $(POOL)); jobs=$$((runs < $(JOBS) ? runs : $(JOBS))); echo $$(($(CORES) > jobs ? $(CORES) / jobs : 1)))
SHARE = $(if $(ATLAS_THREADS),,ATLAS_THREADS=$(THREADS) OMP_NUM_THREADS=$(THREADS))

# A command in a process group of its own, which a signal stops as a whole: killing DVC alone leaves its stage at work.
# It ends when the last of the group has, so that none of them still holds DVC's lock when the same command goes on.
stoppable = set -m; { $(1); } & set +m; group=$$!; for s in INT TERM; do trap "kill -$$s -- -$$group" $$s; done; \
  wait $$group || { status=$$?; wait $$group; \
  for _ in $$(seq 100); do kill -0 -- -$$group 2>/dev/null || break; sleep 0.1; done; exit $$status; }

data:
	@$(if $(DATA),$(call stoppable,dvc repro $(DATA)))

$(POOL): run@%: data
	@$(call stoppable,$(SHARE) dvc --wait-for-lock repro -s train@$* sample@$* animate@$* evaluate@$*)

gather: $(POOL) data
ifneq ($(RUNS),)
	@$(call stoppable,python src/export.py $(RUNS) && python src/gallery.py --partial)
else
	@$(if $(OUTDATED),$(call stoppable,dvc repro))
	@echo "open outputs/gallery/index.html in a browser"
endif

plan: env ## what `make repro` would do and cost, without doing it; takes SCALE and RUNS too
	@$(CHECK) >/dev/null

gallery: env ## the gallery of whatever runs are there
	@python src/gallery.py --partial

readme: env ## the README's table and pictures, as results/ and outputs/ now are
	@python scripts/readme.py

bench: env ## speed beside a plain PyTorch loop; PARTS names some of the parts
	@KINETO_LOG_LEVEL=99 python -m benchmarks $(PARTS)

# Every file of every release that PyPI holds has its hash there, whatever the machine that this runs on. No address of a
# package index is written: each machine installs from the one that its pip or uv knows.
requirements: ## requirements.txt anew from pyproject.toml, with hashes, by uv; versions stay where they may (UPGRADE=1: the newest)
	@uv pip compile -q --universal --python-version 3.11 --extra remotes --extra dev --generate-hashes --no-annotate \
	  $(if $(UPGRADE),--upgrade) --custom-compile-command 'make requirements' -o requirements.txt pyproject.toml

lint: env ## ruff (lint and format) and mypy
	ruff check .
	ruff format --check .
	mypy

format: env ## ruff: mend what can be mended
	ruff check --fix .
	ruff format .

test: env lint ## lint, types and the tests that are not slow, about 5 minutes; real data where ATLAS_MIRROR names a copy of them
	pytest -n auto --maxprocesses 4 --dist loadgroup -m "not slow"

test-all: env ## the slow tests: the whole smoke run, remotes, torchrun, many kills, many broken settings, browsers
	pytest -n auto --maxprocesses 4 --dist loadgroup -m slow
