"""Importing the provider's operators, sensors and triggers in a DAG file is cheap."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import pytest

from dev.local_airflow import IS_AIRFLOW_3

pytestmark = pytest.mark.e2e

#: What every DAG file imports anyway.
BASE = "from airflow.sdk import DAG, BaseOperator, BaseSensorOperator" if IS_AIRFLOW_3 else "from airflow import DAG"

PROGRAM = f"""
import json, sys, time
started = time.process_time()
{BASE}
before, middle = set(sys.modules), time.process_time()
import %s
percent = 100 * (time.process_time() - middle) / (middle - started)
print(json.dumps([percent, sorted(set(sys.modules) - before)]))
"""
HEAVY = {"requests", "tenacity", "urllib3", "fastapi", "airflow_provider_leadmagic.client"}
#: On Airflow 2 operators are defined in ``airflow.models``, so importing one imports these too.
HEAVY_ON_AIRFLOW_3 = {*HEAVY, "airflow.models", "airflow.utils.db", "sqlalchemy"}
FOR_DAG_FILES = [
    f"airflow_provider_leadmagic.{name}"
    for name in ("sensors.credits", "operators.credits", "operators.bulk", "triggers.credits", "triggers.bulk")
]


def import_in_a_fresh_process(*modules: str) -> tuple[float, set[str]]:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM % ", ".join(modules)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    percent, added = json.loads(done.stdout.splitlines()[-1])
    return percent, set(added)


def test_modules_for_dag_files_do_not_import_what_only_running_tasks_need() -> None:
    imported = import_in_a_fresh_process(*FOR_DAG_FILES, "airflow_provider_leadmagic.get_provider_info")[1]

    assert imported & (HEAVY_ON_AIRFLOW_3 if IS_AIRFLOW_3 else HEAVY) == set()


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="the limit applies to airflow.sdk")
def test_importing_all_modules_for_dag_files_costs_less_than_2_percent_of_importing_airflow() -> None:
    # Not in milliseconds, which double on a busy machine.
    percents = [import_in_a_fresh_process(*FOR_DAG_FILES)[0] for _ in range(5)]

    measured = ", ".join(f"{percent:.2f}" for percent in sorted(percents))
    print(f"% of the time to import Airflow: median {statistics.median(percents):.2f}, all: {measured}")
    assert statistics.median(percents) < 2
