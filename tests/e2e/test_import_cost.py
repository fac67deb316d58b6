"""A DAG file that names the gate stays cheap to parse."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import pytest

from dev.local_airflow import IS_AIRFLOW_3

pytestmark = pytest.mark.e2e

#: What every DAG file has loaded anyway.
BASE = "from airflow.sdk import DAG, BaseOperator, BaseSensorOperator" if IS_AIRFLOW_3 else "from airflow import DAG"

PROGRAM = f"""
import json, sys, time
{BASE}
before, began = set(sys.modules), time.perf_counter()
import airflow_provider_leadmagic.%s
took = time.perf_counter() - began
print(json.dumps([took * 1000, sorted(set(sys.modules) - before)]))
"""
HEAVY = {"requests", "tenacity", "urllib3", "fastapi", "airflow_provider_leadmagic.client"}


def import_in_a_fresh_process(module: str) -> tuple[float, set[str]]:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM % module]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    milliseconds, added = json.loads(done.stdout.splitlines()[-1])
    return milliseconds, set(added)


@pytest.mark.parametrize("module", ["sensors.credits", "operators.credits", "triggers.credits", "get_provider_info"])
def test_what_dag_files_import_loads_no_http_client(module: str) -> None:
    assert import_in_a_fresh_process(module)[1] & HEAVY == set()


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="promised for airflow.sdk")
def test_the_sensor_adds_less_than_twenty_milliseconds() -> None:
    times = [import_in_a_fresh_process("sensors.credits")[0] for _ in range(10)]

    print(f"importing the sensor: median {statistics.median(times):.1f} ms of {sorted(round(t, 1) for t in times)}")
    assert statistics.median(times) < 20
