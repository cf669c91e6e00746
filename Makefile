# maml-bench. `make help` says what there is; it is made from the comments behind ## in this file.
#
# Whatever changes the environment is a prerequisite of its stamp, so a second `make` installs nothing.

PYTHON  ?= python3##   what .venv is made with (3.11 or newer); for `make matrix` a list, by default "3.11 3.12"
VENV    ?= .venv##     the environment; a path given here is used as it is and nothing is installed into it
PROFILE ?= quick##     of `make tables`, `overhead` and `load`: quick (minutes) or full (paper lengths, hours)
DEVICE  ?= auto##      auto, cpu or cuda
RESULTS ?= results##   the folder of cells, tables and plots
MACHINE ?=##           the name under which `make publish` keeps a reference run
TORCH   ?= 2.0.1 2.4.1 2.8.0 2.13.0 2.15.0##   PyTorch versions for `make matrix`
KEEP    ?=##           1: `make matrix` keeps the environments (several GB each) in .nox
ARGS    ?=##           more options for tables, overhead, load, regress or selfcheck, such as ARGS="--fresh"

BIN   := $(VENV)/bin
BENCH := $(BIN)/python -m experiments
STAMP := $(if $(filter file default,$(origin VENV)),.venv/.installed,$(BIN)/python)
PIP   := $(BIN)/python -m pip --disable-pip-version-check
PINS  := requirements/constraints.txt
# PYTHON may be a list of bare versions, of which .venv gets the first; the matrix has a default of its own.
FIRST := $(patsubst 3.%,python3.%,$(firstword $(PYTHON)))
EVERY := $(if $(findstring command,$(origin PYTHON)),$(PYTHON),3.11 3.12)

.DEFAULT_GOAL := help
.PHONY: help setup tables plots report test test-all lint overhead golden regress selfcheck load matrix mutants faults
.PHONY: publish findings docs clean

help: ## this text
	@echo "Targets:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{printf "%-12s %s\n", $$1, $$2}'
	@echo "Variables (make TARGET NAME=value):"
	@sed -n 's/^\([A-Z]*\) *?= *\([^#]*\)## *\(.*\)/  \1|\3|\2/p' Makefile | \
		awk -F'|' '{printf "%-12s %s%s\n", $$1, $$2, $$3 ? " [" $$3 "]" : ""}'

setup: $(STAMP) ## create .venv and install everything, pinned

tables: $(STAMP) ## the main job: measure what is missing, render tables and plots, print a summary
	@$(BENCH) run --profile $(PROFILE) --device $(DEVICE) --results $(RESULTS) $(ARGS)
	@$(BENCH) render --results $(RESULTS)

plots: $(STAMP) ## render tables and plots again from what is stored; measures nothing
	@$(BENCH) render --results $(RESULTS)

report: $(STAMP) ## one page of everything that is stored, RESULTS/report.html; measures nothing
	@$(BENCH) report --results $(RESULTS)

test: $(STAMP) ## every behaviour once: the tests that are not slow, 4 minutes at most on 2 cores
	@$(BIN)/python -m pytest -m "not slow"

test-all: $(STAMP) ## all tests, also what compiles, kills or waits for long; 25 minutes at most on 2 cores
	@$(BIN)/python -m pytest

lint: $(STAMP) ## formatting, style, types and the layers of the code
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

overhead: $(STAMP) ## what the harness itself costs in a training run
	@$(BENCH) run overhead --profile $(PROFILE) --device $(DEVICE) --results $(RESULTS) $(ARGS)
	@$(BENCH) render overhead --results $(RESULTS)

matrix: $(STAMP) ## the check over TORCH × PYTHON, an environment each; in the table, other versions stay as they are
	@TORCH="$(TORCH)" PYTHON="$(EVERY)" KEEP="$(KEEP)" $(BIN)/python -m nox

golden: $(STAMP) ## build the golden values anew; files that differ by no more than rounding stay as they are
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m experiments.judging.golden

regress: $(STAMP) ## check every implementation on the golden cases; exit 1 where a verdict is not the committed one
	@$(BENCH) regress --device $(DEVICE) --results $(RESULTS) $(ARGS)

selfcheck: $(STAMP) ## check the timing: one implementation against itself, and slowed by 5 %, 40 times each; half an hour
	@$(BENCH) selfcheck --device $(DEVICE) --results $(RESULTS) $(ARGS)

load: $(STAMP) ## check a large store and a long run; PROFILE=full: 100,000 cells and 50,000 iterations
	@$(BENCH) load --profile $(PROFILE) --device $(DEVICE) --results $(RESULTS) $(ARGS)

mutants: $(STAMP) ## check the checks: every deliberate mistake caught and named, nothing right accused
	@$(BIN)/python -m tests.mutants

faults: $(STAMP) ## make happen what can happen to a run: nothing may be lost, wrong or left running; 16 minutes
	@$(BIN)/python -m tests.faults

publish: $(STAMP) ## copy cells, tables and plots to results/published/MACHINE, to be committed
	@test -n "$(MACHINE)" || { echo "name the machine: make publish MACHINE=…"; exit 2; }
	@$(BENCH) publish --results $(RESULTS) -- "$(MACHINE)"

findings: $(STAMP) ## write docs/findings.md and the tables of README.md and docs/scale.md from results/published
	@$(BIN)/python -m analysis.findings

docs: findings ## write all generated pages: findings, and docs/cli.md from the commands
	@$(BIN)/python -m experiments.cli.reference

clean: ## remove environments and caches; never touches results
	rm -rf .nox .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed: pyproject.toml $(wildcard requirements/*.txt)
	@command -v $(FIRST) >/dev/null || { echo "$(FIRST) was not found; name a Python 3.11 or newer: make PYTHON=…"; exit 2; }
	@$(FIRST) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$$($(FIRST) --version) is too old; name a Python 3.11 or newer: make PYTHON=…"; exit 2; }
	@command -v cc gcc clang >/dev/null || { echo "a C compiler is needed to build learn2learn (cc, gcc or clang)"; exit 2; }
	@test -x .venv/bin/python || $(FIRST) -m venv .venv
	$(PIP) install --quiet --upgrade --constraint $(PINS) pip
	$(PIP) install --quiet --constraint $(PINS) --build-constraint $(PINS) --editable ".[cluster,dev,peers]"
	$(PIP) install --quiet --no-deps --build-constraint requirements/build.txt --requirement requirements/libraries.txt
	@touch $@

$(VENV)/bin/python:
	@test -x $@ || { echo "VENV=$(VENV): there is no environment with bin/python there"; exit 2; }
