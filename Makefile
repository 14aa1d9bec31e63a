# What a developer types. `make` alone lists it.
PYTHON ?= python3
DEMO_ARGS ?=
UI_ARGS ?=
BENCHMARK_ARGS ?=
PYTEST_ARGS ?=

venv := .venv/bin
ready := .venv/.ready
checked := airflow_mlpipe tools tests $(wildcard dags_examples benchmarks)
strict := airflow_mlpipe tools
pytest := $(venv)/python -m pytest -q --no-header -p tools.pytest_file_lines -m "not slow"

.DEFAULT_GOAL := help
.PHONY: help setup demo ui test test-unit test-unit-others test-unit-store test-airflow test-airflow-odd test-airflow-even test-targets test-system test-slow lint types benchmark constraints clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | \
		while IFS='|' read -r target text; do printf '  make %-12s %s\n' "$$target" "$$text"; done

setup: $(ready) ## make .venv with everything (PYTHON=python3.12 chooses the Python); at once when up to date

$(ready): pyproject.toml constraints.txt tools/azurite.sh
	@tools/setup.sh $(PYTHON)
	@touch $@

demo: $(ready) ## run, rerun, edit and rerun a retraining pipeline on a real Airflow
	@$(venv)/python -m tools.demo $(DEMO_ARGS)

ui: $(ready) ## leave Airflow's web UI running with the examples, until Ctrl-C
	@$(venv)/python -m tools.ui $(UI_ARGS)

test: test-unit test-airflow ## all tests but those that start a whole Airflow, the fastest first

# In parts that share nothing, so that "make -j2 test" keeps two processors busy.
test-unit: test-unit-others test-unit-store ## the tests that need no Airflow database; "make types" has those of types

test-unit-others: $(ready)
	@$(pytest) $(PYTEST_ARGS) --ignore tests/unit/store --ignore tests/unit/typing tests/unit tests/architecture

test-unit-store: $(ready)
	@$(pytest) $(PYTEST_ARGS) tests/unit/store

test-airflow: test-airflow-odd test-airflow-even ## DAGs that run in the process of the tests, by dag.test()

test-airflow-odd: $(ready)
	@$(pytest) $(PYTEST_ARGS) $(shell ls tests/airflow/test_*.py | awk 'NR % 2')

test-airflow-even: $(ready)
	@$(pytest) $(PYTEST_ARGS) $(shell ls tests/airflow/test_*.py | awk 'NR % 2 == 0')

test-targets: $(ready) ## the tests on a Docker engine and a Kubernetes cluster (tests/engines.py says which)
	@$(pytest) $(PYTEST_ARGS) tests/targets

test-system: $(ready) ## the tests that start a whole Airflow
	@$(pytest) $(PYTEST_ARGS) tests/system

test-slow: $(ready) ## the tests that the others leave out for their time
	@$(pytest) -m slow $(PYTEST_ARGS) tests

lint: $(ready) ## ruff: rules and layout
	@$(venv)/ruff check $(checked)
	@$(venv)/ruff format --check $(checked)

types: $(ready) ## mypy, strict; and what mypy and pyright say of @step
	@$(venv)/mypy $(strict)
	@$(pytest) $(PYTEST_ARGS) tests/unit/typing

benchmark: $(ready) ## measure overheads on a warm Airflow, results as JSON
	@$(venv)/python -m benchmarks $(BENCHMARK_ARGS)

constraints: $(ready) ## resolve the versions in constraints.txt anew
	@sed -n '/^#/p' constraints.txt > constraints.new
	@$(venv)/uv pip compile --quiet --universal --python-version 3.10 --upgrade --no-header --no-annotate \
		--no-emit-index-url --group dev pyproject.toml >> constraints.new
	@mv constraints.new constraints.txt

clean: ## remove what the other targets made
	rm -rf .venv .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
