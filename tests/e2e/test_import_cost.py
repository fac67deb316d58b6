"""Importing the provider's operators, sensors and triggers in a DAG file is cheap."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import pytest

from dev.local_airflow import IS_AIRFLOW_3

#: What every DAG file imports anyway.
BASE = "from airflow.sdk import DAG, BaseOperator, BaseSensorOperator" if IS_AIRFLOW_3 else "from airflow import DAG"

PROGRAM = f"""
import json, sys, time
{BASE}
before, started = set(sys.modules), time.process_time()
import %s
took = time.process_time() - started
print(json.dumps([took * 1000, sorted(set(sys.modules) - before)]))
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
    milliseconds, added = json.loads(done.stdout.splitlines()[-1])
    return milliseconds, set(added)


@pytest.mark.e2e
@pytest.mark.parametrize("module", [*FOR_DAG_FILES, "airflow_provider_leadmagic.get_provider_info"])
def test_modules_for_dag_files_do_not_import_what_only_running_tasks_need(module: str) -> None:
    assert import_in_a_fresh_process(module)[1] & (HEAVY_ON_AIRFLOW_3 if IS_AIRFLOW_3 else HEAVY) == set()


@pytest.mark.bench  # other processes slow it down, and benchmarks run alone
@pytest.mark.skipif(not IS_AIRFLOW_3, reason="the limit applies to airflow.sdk")
def test_importing_all_modules_for_dag_files_takes_less_than_15_ms_of_cpu_time() -> None:
    times = [import_in_a_fresh_process(*FOR_DAG_FILES)[0] for _ in range(10)]

    print(f"import time: median {statistics.median(times):.1f} ms of {sorted(round(t, 1) for t in times)}")
    assert statistics.median(times) < 15
