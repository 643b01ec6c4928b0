# Two commands do everything on a fresh Debian or Ubuntu with Python 3.11+:  make demo   and   make test
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
# Test processes: many tests wait for servers, so more than the processors.
WORKERS ?= 5
SIDE_BY_SIDE = -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=15
FAST ?= tests/unit tests/stories
CONFIG ?= config/slo-budget-tracker.yaml
# Servers for tests and demo: what is installed, else what config/get-server.sh unpacked here.
export PATH := $(PATH):/usr/sbin:$(CURDIR)/.cache/servers/usr/bin

.NOTPARALLEL:
.PHONY: help demo test alone together lint check bench audit soak run format clean
help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: set PYTHON=python3.x"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -y -q --no-install-recommends python3-venv; } || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

.PHONY: servers
servers:
	@config/get-server.sh prometheus promtool
	@config/get-server.sh prometheus-alertmanager amtool || true
	@config/get-server.sh victoria-metrics victoria-metrics || true
	@config/get-server.sh prometheus-blackbox-exporter prometheus-blackbox-exporter || true
	@config/get-server.sh prometheus-nginx-exporter prometheus-nginx-exporter || true
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || echo "PostgreSQL is not installed: its tests are left out (apt-get install postgresql)"

demo: .venv/ready ## an example service, Prometheus, audit stream and daemon; prints where to look
	@config/get-server.sh prometheus promtool
	@$(BIN)/python config/demo/demo.py

run: .venv/ready ## the daemon with CONFIG=config/slo-budget-tracker.yaml
	$(BIN)/slo-budget-tracker run -c $(CONFIG)

format: .venv/ready ## format and mend what can be mended
	$(BIN)/ruff format src tests config
	$(BIN)/ruff check --fix src tests config

lint: .venv/ready
	$(BIN)/ruff format --check src tests config
	$(BIN)/ruff check src tests config
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

check: lint ## format, lint, types, layers, fast tests
	$(BIN)/pytest -q -n auto $(FAST)

test: alone together ## everything but what is long, with branch coverage

alone: .venv/ready servers
	$(BIN)/pytest -q -m "alone and not long" $$(grep -rl --include='test_*.py' mark.alone tests)

together: .venv/ready servers
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -q -m "not alone and not long" $(SIDE_BY_SIDE)
	@$(BIN)/coverage combine -q
	$(BIN)/coverage report

audit: .venv/ready ## are dependencies known to be vulnerable? (needs a way to the advisories)
	@$(BIN)/python config/audit.py $(AUDIT)

soak: .venv/ready servers ## everything, all servers, full counts
	@command -v npm >/dev/null || echo "npm is not installed: the dashboards are not drawn (apt-get install npm)"
	@for suite in trixie sid; do config/get-server.sh prometheus prometheus $$suite || true; done
	HYPOTHESIS_PROFILE=soak $(BIN)/pytest
	$(BIN)/pytest -q --ledger postgresql -n $(WORKERS) --dist loadfile tests/unit tests/stories tests/property \
	  tests/real/test_audit_lookups.py tests/real/test_audit_troubles.py
	[ ! -x .cache/servers-sid/usr/bin/prometheus ] || \
	  SLO_TEST_PROMETHEUS=$(CURDIR)/.cache/servers-sid/usr/bin/prometheus \
	  $(BIN)/pytest tests/worlds tests/real/test_live_worlds.py tests/real/test_fill_expression.py tests/real/test_prometheus_client.py

bench: .venv/ready servers ## what it costs, beside other tools, in 18 minutes (BENCH=all: every bench, two hours)
	@$(BIN)/python -m tests.bench $(BENCH)

clean: ## remove what the other targets made
	rm -rf .venv .cache build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
