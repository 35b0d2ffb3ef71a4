# `make pilot` and `make test` need Python 3.11 and make, nothing else.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV ?= .venv
CORES ?= 2
BIN := $(VENV)/bin
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)
REPORT := artifacts/report/report.html
READY := $(VENV)/.installed
MODELS := $(VENV)/.models
EXTRAS := $(VENV)/.extras
export OMP_WAIT_POLICY ?= passive
# Snakemake's cache of sources lies in the home folder: where that cannot be written, here
ifndef XDG_CACHE_HOME
ifneq ($(shell { test -w "$$HOME/.cache" || { test ! -e "$$HOME/.cache" && test -w "$$HOME"; }; } && echo yes),yes)
export XDG_CACHE_HOME := $(CURDIR)/artifacts/.cache
endif
endif

.PHONY: audit sbom help setup setup-models setup-extras pilot render report analysis test test-slow test-all check lint evaluate deliver train-pilot train-demo train-enhancer ablation clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# The locks are complete, so that pip need not look for what a package asks for (and what we never use of it stays out).
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --no-deps
# pip compiles on one core, and Python not at all where PYTHONDONTWRITEBYTECODE is set
COMPILE := $(BIN)/python -m compileall -q -j 0 -x '/(tests|node_modules)/' $(VENV)/lib

setup: $(READY)  ## make .venv and install what rendering with the embedded networks needs (requirements.lock)

$(READY): requirements.lock
	@echo "setup: installing requirements.lock into $(VENV) (about a minute, 0.7 GB)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -r requirements.lock
	@$(COMPILE) audiorestorer scripts
	@$(BIN)/python -c "from audiorestorer import digest; digest.modules_of(*digest.all_modules()); digest.keep()"
	@touch $@

setup-models: $(MODELS)  ## add torch, demucs and all that training, the full models and the tests need (requirements-models.lock)

$(MODELS): requirements-models.lock $(READY)
	@echo "setup: installing requirements-models.lock into $(VENV) (some minutes, about 5 GB)"
	$(INSTALL) -r requirements-models.lock
	@$(COMPILE)
	@touch $@

# Packages without wheels (a C compiler is needed) or with a licence that forbids to bundle them: each is used where it installs.
$(EXTRAS): requirements-extras.lock $(MODELS)
	@failed=; for package in $$(sed -n 's/^\([a-z0-9-]*\)==.*/\1/p' requirements-extras.lock); do \
	  awk -v name="$$package==" '/^[a-z]/ {inside = index($$0, name) == 1} inside' requirements-extras.lock > $(VENV)/extra.lock; \
	  $(BIN)/python -m pip install --quiet --require-hashes --no-deps -r $(VENV)/extra.lock || failed="$$failed $$package"; \
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
	test -x $(AUDIT)/bin/pip-audit || { $(PYTHON) -m venv $(AUDIT) && $(AUDIT)/bin/python -m pip install --quiet pip-audit==2.10.1; }
	$(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes -r requirements.lock
	$(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes -r requirements-models.lock
	$(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes -r requirements-extras.lock

sbom: $(MODELS)  ## docs/licences.md and a bill of materials (CycloneDX): artifacts/sbom.json
	PYTHONPATH=. $(BIN)/python -m scripts.release.supply_chain --licences docs/licences.md --sbom artifacts/sbom.json

clean:  ## delete what the pipeline made
	rm -rf artifacts
