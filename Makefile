# Everything here sets itself up in .build/, one virtual environment for each version of Airflow and of Python.
#
#   make demo                    watch a real Airflow hold an enrichment DAG until the credits cover it
#   make ui                      the same Airflow, left up for browsing
#   make test                    unit, hostile-server and end-to-end tests     (make test AIRFLOW=2.11.2)
#   make test-fast               the tests that take under a minute
#   make test-hostile            a server that does what no web framework can
#   make test-matrix             these tests on every supported Airflow and Python   (ONLY="3.1.8 oldest")
#   make test-distributed        PostgreSQL, Redis, Celery, and what fails of them (needs both; takes long)
#   make test-install            the wheel under the constraints of each Airflow      (ONLY="2.11.0 3.3.2")
#   make check                   ruff, mypy --strict, deptry, and what is in the wheel
#   make test-browser            the connection form in a real browser (needs Chromium)
#   make bench                   what a waiting gate costs, against what people use today    (make bench QUICK=1)
#   make test-bench              that the benchmark still runs, and that what its notes say is so
#   make clean                   remove .build/

AIRFLOW ?= 3.3.2
PYTHON ?= python3
# Of another Python than the default one, another environment: .build/venv-3.3.2-python3.12.
VENV := .build/venv-$(AIRFLOW)$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
REQUIREMENTS := requirements/airflow-$(AIRFLOW).txt
READY := $(VENV)/.ready
# One worker more than there are cores, as some tests wait.
WORKERS = $$($(PYTHON) -c 'import os; print(1 + (os.cpu_count() or 1))')
SPACE := $(subst ,, )
# With this set every Airflow process would compile all of Airflow anew.
unexport PYTHONDONTWRITEBYTECODE
# Nothing of an Airflow the user already has may shine through.
unexport AIRFLOW_HOME
unexport PYTHONPATH

.PHONY: demo ui test test-fast test-hostile test-e2e test-matrix test-distributed test-install test-browser bench
.PHONY: test-bench check lint wheel format clean in-another-venv

demo: $(READY)
	@exec $(VENV)/bin/python -W ignore -m demo

ui: $(READY)
	@exec $(VENV)/bin/python -W ignore -m demo --ui

test: test-fast test-hostile test-e2e

test-fast: $(READY)
	$(VENV)/bin/python -m pytest -n $(WORKERS) --ignore tests/hostile \
	  -m "not e2e and not browser and not wheel and not install and not distributed and not bench"

test-hostile: $(READY)
	$(VENV)/bin/python -m pytest -n $(WORKERS) tests/hostile

# Beside those that share an Airflow, one worker for all others.
test-e2e: $(READY)
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile -m e2e

# ONLY: versions or cells; AT_ONCE: cells side by side.
test-matrix:
	@$(PYTHON) -m dev.matrix $(or $(AT_ONCE),1) $(ONLY)

# ONLY: versions of Airflow.
test-install: $(READY)
	$(VENV)/bin/python -m pytest -m install $(if $(ONLY),-k "$(subst $(SPACE), or ,$(strip $(ONLY)))")

test-browser: $(READY)
	$(VENV)/bin/python -m pytest -m browser

# Environments that hold more than the others do, so that nothing else may come to need it.
IN = @$(MAKE) --no-print-directory in-another-venv AIRFLOW=3.3.2 VENV=.build/venv-$(1) \
  REQUIREMENTS="requirements/airflow-3.3.2.txt requirements/$(1).txt" COMMAND="$(2)"

test-distributed:
	$(call IN,distributed,-m pytest -s -m distributed tests/distributed)

bench:
	$(call IN,benchmarks,-W ignore -m benchmarks $(if $(QUICK),--quick))

test-bench:
	$(call IN,benchmarks,-m pytest -m bench)

in-another-venv: $(READY)
	@exec $(VENV)/bin/python $(COMMAND)

check: lint wheel

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/deptry --no-ansi .

wheel: $(READY)
	$(VENV)/bin/python -m pytest -m wheel

format: $(READY)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf .build

$(READY): $(REQUIREMENTS) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=..."; exit 1; }
	@echo "Installing Airflow $(AIRFLOW) into $(VENV) (once) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@# uv installs in seconds what takes pip a minute; where it cannot be had, pip does.
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check uv >/dev/null 2>&1 \
	  && $(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --compile-bytecode $(addprefix -r ,$(REQUIREMENTS)) >/dev/null 2>&1 \
	  || $(VENV)/bin/pip install --quiet --disable-pip-version-check $(addprefix -r ,$(REQUIREMENTS))
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(VENV)/bin/python -c 'from importlib.metadata import version as v; a = v("apache-airflow"); assert a == "$(AIRFLOW)", a'
	@touch $@
