# `make pilot` and `make test` need a Python and make, nothing else.
SHELL := /bin/bash
VENV ?= .venv
PYTHONS := 3.13 3.12 3.11
# The newest that runs and can make environments (a shim of pyenv may do neither): of each version the one on PATH, else pyenv's.
PYTHON ?= $(shell for version in $(PYTHONS); do \
  for each in python$$version $$(ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version.*/bin/python$$version 2> /dev/null | sort -rV); do \
    if "$$each" -c 'import venv, ensurepip, ssl, sqlite3' > /dev/null 2>&1; then echo "$$each"; exit; fi; \
  done; done)
CORES ?= 2
BIN := $(VENV)/bin
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)
REPORT := artifacts/report/report.html
READY := $(VENV)/.installed
TESTS := $(VENV)/.tests
MODELS := $(VENV)/.models
EXTRAS := $(VENV)/.extras
export OMP_WAIT_POLICY ?= passive
# Snakemake's cache of sources lies in the home folder: where that cannot be written, here
ifndef XDG_CACHE_HOME
ifneq ($(shell { test -w "$$HOME/.cache" || { test ! -e "$$HOME/.cache" && test -w "$$HOME"; }; } && echo yes),yes)
export XDG_CACHE_HOME := $(CURDIR)/artifacts/.cache
endif
endif

.PHONY: wheel audit sbom locks help python environment setup setup-models setup-extras pilot render report analysis test test-core test-slow test-all check lint evaluate deliver train-pilot train-demo train-enhancer ablation clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# The locks are complete, so that pip need not look for what a package asks for (and what we never use of it stays out).
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --no-deps
# pip compiles on one core, and Python not at all where PYTHONDONTWRITEBYTECODE is set
COMPILE := PYTHONWARNINGS=ignore $(BIN)/python -m compileall -q -j 0 -x '/(tests|node_modules)/' $(VENV)/lib

python:  ## say which Python .venv is made with; PYTHON=... chooses another
	@if [ -z "$(PYTHON)" ]; then \
	  echo "make: found no Python $(PYTHONS) that runs and has venv (Debian: apt install python3-venv); name one: make PYTHON=/path/to/python" >&2; exit 1; \
	elif ! "$(PYTHON)" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'; then \
	  echo "make: $(PYTHON) is no Python 3.11, 3.12 or 3.13 that runs and has venv" >&2; exit 1; \
	else "$(PYTHON)" -c 'import platform, sys; print("Python", platform.python_version(), sys.executable)'; fi

environment:
	@$(MAKE) --no-print-directory python
	@"$(PYTHON)" -m venv $(VENV)

setup: $(READY)  ## make .venv and install what rendering with the embedded networks needs (requirements.lock)

$(READY): requirements.lock
	@test -x $(BIN)/python || $(MAKE) --no-print-directory environment
	@echo "setup: installing requirements.lock into $(VENV) (about a minute, 0.7 GB)"
	$(INSTALL) -r requirements.lock
	@$(COMPILE) audiorestorer scripts
	@$(BIN)/python -c "from audiorestorer import digest; digest.modules_of(*digest.all_modules()); digest.keep()"
	@touch $@

# What the tests need that use no torch
$(TESTS): requirements-tests.lock $(READY)
	$(INSTALL) -r requirements-tests.lock
	@$(COMPILE)
	@touch $@

wheel: $(MODELS)  ## build the wheel, which carries the workflow and the embedded models: artifacts/dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation -w artifacts/dist .

setup-models: $(MODELS)  ## add torch, demucs and all that training, the full models and the tests need (requirements-models.lock)

$(MODELS): requirements-models.lock $(TESTS)
	@echo "setup: installing requirements-models.lock into $(VENV) (some minutes, about 5 GB)"
	$(INSTALL) -r requirements-models.lock
	@$(COMPILE)
	@touch $@

# Packages without wheels (a C compiler is needed) or with a licence that forbids to bundle them: each is used where it installs.
# Two of them carry weights alone, which any Python reads, and yet refuse Python 3.13: hence --ignore-requires-python.
$(EXTRAS): requirements-extras.lock $(MODELS)
	@failed=; for package in $$(sed -n 's/^\([a-z0-9-]*\)==.*/\1/p' requirements-extras.lock); do \
	  awk -v name="$$package==" '/^[a-z]/ {inside = index($$0, name) == 1} inside' requirements-extras.lock > $(VENV)/extra.lock; \
	  $(BIN)/python -m pip install --quiet --ignore-requires-python --require-hashes --no-deps -r $(VENV)/extra.lock || failed="$$failed $$package"; \
	done; rm -f $(VENV)/extra.lock; \
	if [ -z "$$failed" ]; then touch $@; \
	else echo "setup: did not install (see above):$$failed; their tests will be skipped and say so"; fi

setup-extras: $(EXTRAS)  ## install the optional packages: diffq, denoiser (CC-BY-NC), pesq, faster-whisper

pilot: $(READY)  ## render data/pilot to artifacts/report/report.html
	@$(MAKE) --no-print-directory render report

render: $(READY)
	$(SNAKEMAKE) all quality_page

report: $(READY)  ## (re)make the HTML report of the last run
	@if [ ! -s $(REPORT) ] || [ -n "$$(find artifacts/report artifacts/eval report -newer $(REPORT) -type f -print -quit)" ]; then \
	  $(SNAKEMAKE) all quality_page --report $(REPORT) && echo "report: $(REPORT)"; \
	else echo "report: $(REPORT) is up to date"; fi

analysis: $(MODELS)  ## the notebook on how the metrics of the last run agree, as a page of the report
	$(SNAKEMAKE) all quality_page analysis
	$(SNAKEMAKE) all quality_page analysis --report $(REPORT) && echo "report: $(REPORT)"

evaluate: $(READY)  ## measure the finished files again; never touches the rendering
	$(SNAKEMAKE) --allowed-rules evaluate collect metrics --forcerun evaluate -- metrics

deliver: $(READY)  ## pack the cleaned tree with manifest, licences and checksums
	$(SNAKEMAKE) deliver

train-pilot: $(MODELS)  ## make the training audio and train the pilot models again (an hour; needs the Debian packages that rules/train.smk names)
	$(SNAKEMAKE) train_pilot

train-demo: $(MODELS)  ## the training half from end to end on generated stems and noise (minutes)
	$(SNAKEMAKE) training
	@mkdir -p artifacts/report
	$(SNAKEMAKE) training --report artifacts/report/training_report.html && echo "report: artifacts/report/training_report.html"

train-enhancer: $(MODELS)  ## train the enhancer in its three stages on generated voices (under 30 minutes on two cores)
	$(SNAKEMAKE) enhancer

ablation: $(MODELS)  ## which training strategy helps on degraded recordings: the small form (two cores, no download)
	$(SNAKEMAKE) ablation
	@mkdir -p artifacts/report
	$(SNAKEMAKE) ablation --report artifacts/report/ablation_report.html && echo "report: artifacts/report/ablation_report.html"

# Whole files go to a process each, the longest first (tests/conftest.py): many tests share a run of the workflow
PYTEST := $(BIN)/python -m pytest -n $(CORES) --dist loadfile --no-loadscope-reorder

test: $(EXTRAS)  ## run the tests but for those that take minutes
	$(PYTEST) -m "not slow" $(ARGS)

# From a folder to its report, the command line, the registry, the store: what a newer Python would break, without torch
CORE := $(addprefix tests/,$(addsuffix .py,$(addprefix test_,core audio commands digest folders forked job_server listing manifest metadata pairs \
  progress store tables workflow zipped) $(addprefix stages/test_,deliver ingest publish report shard) models/test_registry))

test-core: $(TESTS)  ## the tests of the core, with requirements.lock alone: for another Python (PYTHON=... VENV=...)
	$(PYTEST) -m "not slow" $(CORE) $(ARGS)

test-slow: $(EXTRAS)  ## the tests that take minutes (what .ci/run runs after `make test`)
	$(PYTEST) -m slow $(ARGS)

test-all: export AUDIORESTORER_FAULTS ?= 200
test-all: $(EXTRAS)  ## run every test, and the fault campaign in its long form (hours)
	$(PYTEST) $(ARGS)

lint: $(MODELS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile rules workflow docs/module_example/Snakefile
	$(BIN)/snakemake --lint

check: lint test  ## ruff, mypy, snakefmt, snakemake --lint and the tests

# pip-audit is no dependency: it asks the network for known vulnerabilities, and lives in an environment of its own
AUDIT := artifacts/pip-audit
audit:  ## known vulnerabilities of the locked packages (needs a network)
	test -x $(AUDIT)/bin/pip-audit || { "$(PYTHON)" -m venv $(AUDIT) && $(AUDIT)/bin/python -m pip install --quiet pip-audit==2.10.1; }
	$(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes -r requirements.lock
	$(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes -r requirements-tests.lock
	$(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes -r requirements-models.lock
	$(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes -r requirements-extras.lock

# uv is no dependency either
UV := artifacts/uv
locks:  ## write the locks anew from pyproject.toml; versions stay (needs a network): ARGS="--upgrade-package numpy"
	test -x $(UV)/bin/uv || { $(BIN)/python -m venv $(UV) && $(UV)/bin/python -m pip install --quiet uv==0.13.9; }
	PATH="$(CURDIR)/$(UV)/bin:$$PATH" $(BIN)/python -m scripts.release.write_locks $(ARGS)

sbom: $(MODELS)  ## docs/licences.md and a bill of materials (CycloneDX): artifacts/sbom.json
	PYTHONPATH=. $(BIN)/python -m scripts.release.supply_chain --licences docs/licences.md --sbom artifacts/sbom.json

clean:  ## delete what the pipeline made
	rm -rf artifacts
