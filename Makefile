# Everything a person does in this repository. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.ONESHELL:
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .stamps
PACKAGES := protos libs/servicekit libs/audio gateway services/asr services/llm services/tts clients/python clients/cli
PYPROJECTS := $(addsuffix /pyproject.toml,$(PACKAGES))
LOCAL_NAMES := parley-protos parley-servicekit parley-audio parley-gateway parley-asr parley-llm parley-tts parley-client parley-cli

DOCKERFILES := gateway/Dockerfile services/asr/Dockerfile services/llm/Dockerfile services/tts/Dockerfile clients/cli/Dockerfile

help: ## list what can be made
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMPS)/setup ## make .venv with everything, hash-checked (needs Python 3.11 to 3.13 and a package index)

$(STAMPS)/setup: requirements.lock $(PYPROJECTS)
	@mkdir -p $(STAMPS)
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Parley needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}: run make PYTHON=python3.12 $(MAKECMDGOALS)")'
	[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	# pip, not uv: it knows the mirrors, proxies and certificates that people have set up for pip.
	export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
	echo "installing the locked packages into $(VENV) (about 400 MB, once; a minute or two)"
	$(BIN)/python -m pip install --no-deps --require-hashes -r requirements.lock | awk -v of="$$(grep -c '^[a-z].*==' requirements.lock)" -v shown="$$([ -t 1 ] && echo 1)" '/^Collecting/ && shown {printf "\r  fetching package %d of at most %d ", ++n, of; fflush()} END {if (shown) print ""}'
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --no-index $(addprefix -e ./,$(PACKAGES))
	touch $@

demo: setup ## four processes, a spoken question, a spoken answer
	@$(BIN)/parley demo

test: setup ## everything that needs no GPU and no download: unit, contract, integration, e2e, quality
	@tests/run

test-compose: setup ## the embedded stack in containers: talk to it, kill it, take Redis away (needs Docker with Compose 2.24)
	@tests/run compose

lint: setup ## ruff, import rules, Dockerfiles, protos
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/hadolint $(DOCKERFILES)
	$(MAKE) --no-print-directory protos-check

types: setup ## mypy --strict over every package
	$(BIN)/mypy

protos: setup ## generate the committed stubs anew
	@protos/generate protos/gen

protos-check: setup ## buf lint, breaking changes, drift of the committed stubs
	@protos/check

lock: setup ## resolve requirements.lock anew
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
	  --all-extras --group pyproject.toml:dev $(addprefix --no-emit-package ,$(LOCAL_NAMES)) $(PYPROJECTS) -o requirements.lock

bench: setup ## measure everything, bench/out/report.html (BENCH="overload chaos" picks scenarios, ARGS="--vs pipecat" adds options)
	@$(BIN)/python -m bench $(ARGS) $(BENCH)

bench-short: setup ## the same in at most six minutes on two cores, less exactly
	@$(BIN)/python -m bench --short $(ARGS) $(BENCH)

bench-peers: setup ## install the libraries that ARGS="--vs pipecat --vs livekit-agents" compares with (1 GB, under .peers/)
	@$(BIN)/python -m bench.peers.install

bench-compare: setup ## what changed between two reports: OLD=a.json NEW=b.json
	@[ -n "$(OLD)" ] && [ -n "$(NEW)" ] || { echo "say which reports: make bench-compare OLD=a.json NEW=b.json" >&2; exit 2; }
	$(BIN)/python -m bench compare "$(OLD)" "$(NEW)"

clean: ## remove what make made
	rm -rf $(VENV) $(STAMPS) .peers .run demo-reply.wav .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help setup demo test test-compose lint types protos protos-check lock bench bench-short bench-compare bench-peers clean
