# All targets create what they need in .build/: one virtual environment for each version of Airflow and Python.
#
#   make demo                    run a real Airflow whose enrichment DAG waits until the credits are sufficient
#   make ui                      the same, and keep Airflow running for browsing
#   make test-fast               the unit tests that take less than a minute together
#   make test                    the next two (make test AIRFLOW=2.11.2)
#   make test-unit               all unit tests, those of this repository, and those against a hostile server (ONLY="FILES")
#   make test-e2e                whole DAGs, most of them under a running Airflow (ONLY="FILES" EXCEPT="MARKERS")
#   make test-load               what 1,000 waiting sensors cost, on a machine that does nothing else
#   make test-page               who may see the page, and what it costs, with running API servers
#   make test-slow               the end-to-end tests that kill processes or wait for more than a minute
#   make test-matrix             all tests on every supported Airflow, the unit tests on every Python (ONLY="3.1.8 oldest")
#   make test-distributed        Airflow on Celery, with failures (needs PostgreSQL and Redis; slow)
#   make test-storage            output files in an S3 bucket, on a server of its own (needs s3fs and moto)
#   make test-fab                the page in Airflow with the users and roles of the FAB auth manager (which it installs)
#   make test-openlineage        what OpenLineage receives (needs Airflow's OpenLineage provider)
#   make test-install            install the wheel under the constraints of each Airflow (ONLY="2.11.0 3.3.2")
#   make test-browser            the page and the connection form in a real browser (needs Chromium)
#   make screenshots             take the pictures of the docs again, from the browser tests
#   make check                   ruff, mypy --strict, deptry, the content of the wheel, and the GitHub workflows
#   make docs                    build the documentation site in .build/docs, with warnings as errors
#   make release-dry-run         build and check what a release uploads, and list it; uploads nothing (TAG=v0.1.0)
#   make bench                   measure the cost of waiting sensors, compared with the alternatives (QUICK=1)
#   make test-bench              check that the benchmark runs, and that the notes below its tables are true
#   make mutants                 break the modules that decide about money, and list the breaks that no test notices
#   make clean                   remove .build/

AIRFLOW ?= 3.3.2
PYTHON ?= python3
# A Python other than the default one gets its own environment, such as .build/venv-3.3.2-python3.12.
VENV := .build/venv-$(AIRFLOW)$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
REQUIREMENTS := requirements/airflow-$(AIRFLOW).txt
READY := $(VENV)/.ready
# One more than there are cores, because some tests only wait.
WORKERS = $$($(PYTHON) -c 'import os; print(1 + (os.cpu_count() or 1))')
SPACE := $(subst ,, )
# Their tests send many requests.
TASKS := $(addprefix tests/unit/,operators sensors triggers sandbox ui)
PAGE := $(wildcard tests/e2e/test_page_*.py)
# The files with a marker, because collecting all tests takes a long time.
MARKED = $(sort $(shell grep -rl --include='test_*.py' 'pytest\.mark\.$(1)\b' tests))
UNIT := not e2e and not browser and not wheel and not install and not distributed and not bench
# All of Airflow, before many processes need it at the same time.
COMPILE := --compile-bytecode
# With this variable set, every Airflow process would compile all of Airflow again.
unexport PYTHONDONTWRITEBYTECODE
# The user's own Airflow must not leak in through environment variables.
unexport AIRFLOW_HOME
unexport PYTHONPATH

.PHONY: demo ui test test-fast test-unit test-e2e test-page test-load test-slow test-matrix matrix-logs test-distributed test-install test-browser screenshots bench
.PHONY: test-bench test-openlineage test-storage test-fab mutants check lint wheel workflows docs release-dry-run format clean in-another-venv

demo: $(READY)
	@exec $(VENV)/bin/python -W ignore -m demo

ui: $(READY)
	@exec $(VENV)/bin/python -W ignore -m demo --ui

test: test-unit test-e2e

test-fast: $(READY)
	$(VENV)/bin/python -m pytest -n $(WORKERS) tests/unit $(addprefix --ignore ,$(TASKS)) -m "$(UNIT)"

# ONLY: files and folders.
test-unit: $(READY)
	$(VENV)/bin/python -m pytest -n $(WORKERS) -m "$(UNIT)" $(ONLY)

# The tests that share an Airflow run in one worker. ONLY: files; EXCEPT: markers.
test-e2e: $(READY)
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile -m "e2e and not ($(or $(EXCEPT),slow or load))" $(or $(ONLY),$(filter-out $(PAGE),$(call MARKED,e2e)))

# Run it alone: other work on the machine takes processor time from the measured processes.
test-load: $(READY)
	$(VENV)/bin/python -m pytest -s -m load $(call MARKED,load)

# Not a part of test-e2e, because these tests start API servers of their own, most of them with other users.
test-page: $(READY)
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile -m e2e $(PAGE)

test-slow: $(READY)
	$(VENV)/bin/python -m pytest -m slow $(call MARKED,slow)

# ONLY: versions or cells; AT_ONCE: number of cells to run in parallel.
test-matrix:
	@$(PYTHON) -m dev.matrix $(or $(AT_ONCE),1) $(ONLY)

matrix-logs:
	@tail -n 200 .build/matrix-*.log

# ONLY: versions of Airflow.
test-install: $(READY)
	$(VENV)/bin/python -m pytest -m install $(call MARKED,install) $(if $(ONLY),-k "$(subst $(SPACE), or ,$(strip $(ONLY)))")

test-browser: $(READY)
	$(VENV)/bin/python -m pytest -m browser $(call MARKED,browser)

# Separate environments with additional packages, so that nothing else can come to depend on these.
IN = $(call ON,3.3.2,$(1),$(2))
ON = @$(MAKE) --no-print-directory in-another-venv $(if $(filter docs release storage,$(2)),COMPILE=) AIRFLOW=$(1) VENV=.build/venv-$(2) \
  REQUIREMENTS="requirements/airflow-$(1).txt requirements/$(2).txt" COMMAND="$(3)"

test-distributed:
	$(call IN,distributed,-m pytest -s -m distributed tests/distributed)

# botocore does not allow the dateutil that is pinned for Airflow 3.3.
test-storage:
	$(call ON,3.2.2,storage,-W ignore -m pytest tests/unit/bulk/test_object_storage.py tests/unit/bulk/test_output.py)

# FAB does not allow the dateutil that is pinned for Airflow 3.3.
test-fab:
	$(call ON,3.2.2,fab,-W ignore -m pytest tests/e2e/test_page_with_fab.py)

# The pictures of the docs. Look at them before you commit them.
screenshots: test-browser
	@mkdir -p docs/images
	@for name in page-in-airflow-light page-in-airflow-dark form-filled waiting-task; do \
	  cp .build/screenshots/$$name.png docs/images/; \
	done

test-openlineage:
	$(call IN,openlineage,-W ignore -m pytest tests/e2e/test_lineage.py tests/unit/operators/test_bulk_lineage.py)

bench:
	$(call IN,benchmarks,-W ignore -m benchmarks $(if $(QUICK),--quick))

test-bench:
	$(call IN,benchmarks,-m pytest -m bench $(call MARKED,bench))

# ONLY: modules; EVERY: 7 for every seventh mutant; AT_ONCE: number of mutants to test in parallel.
# In the environment with an S3 server, so that the tests of object storage run, too.
mutants:
	$(call ON,3.2.2,storage,-m dev.mutants $(or $(AT_ONCE),2) $(or $(EVERY),1) $(ONLY))

in-another-venv: $(READY)
	@exec $(VENV)/bin/python $(COMMAND)

check: lint wheel workflows

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/deptry --no-ansi .

wheel:
	$(call IN,release,-m pytest -m wheel $(call MARKED,wheel))

# Without --offline, zizmor would ask GitHub about the actions. It is not a Python module.
workflows:
	$(call IN,release,-m check_jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml)
	$(call IN,release,-m check_jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml)
	$(call IN,release,-m check_jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml)
	$(call IN,release,-m check_jsonschema --builtin-schema vendor.readthedocs .readthedocs.yaml)
	$(call IN,release,-m check_jsonschema --builtin-schema vendor.compose-spec quickstart/docker-compose.yaml)
	@.build/venv-release/bin/zizmor --offline --no-progress --quiet --persona pedantic .github

docs:
	$(call IN,docs,-m sphinx --fail-on-warning --keep-going --fresh-env --quiet docs .build/docs)

# With the time of the last commit, everyone who builds this commit gets the same files.
release-dry-run: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)
release-dry-run:
	@rm -rf dist
	$(call IN,release,-m hatchling build -d dist)
	$(call IN,release,-m twine check --strict dist/*)
	@$(PYTHON) -m dev.release

format: $(READY)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf .build

$(READY): $(REQUIREMENTS) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is required; set PYTHON=..."; exit 1; }
	@echo "Installing Airflow $(AIRFLOW) into $(VENV) (once) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@# uv takes seconds, pip a minute; pip is used if uv cannot be installed.
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check uv >/dev/null 2>&1 \
	  && $(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python $(COMPILE) $(addprefix -r ,$(REQUIREMENTS)) >/dev/null 2>&1 \
	  || $(VENV)/bin/pip install --quiet --disable-pip-version-check $(addprefix -r ,$(REQUIREMENTS))
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(VENV)/bin/python -c 'from importlib.metadata import version as v; a = v("apache-airflow"); assert a == "$(AIRFLOW)", a'
	@touch $@
