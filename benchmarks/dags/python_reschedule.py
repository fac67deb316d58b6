"""``PythonSensor`` that requests the balance with requests."""

from __future__ import annotations

import requests
from airflow.providers.standard.sensors.python import PythonSensor
from airflow.sdk import BaseHook

from benchmarks.sensor_dags import build_dags


def is_sufficient(conn_id: str) -> bool:
    connection = BaseHook.get_connection(conn_id)
    headers = {"X-API-Key": connection.extra_dejson["X-API-Key"]}
    response = requests.get(f"{connection.host}/v1/credits", headers=headers, timeout=30)
    response.raise_for_status()
    return response.json()["credits"] >= 100


def build_sensor(task_id: str, conn_id: str, interval: float) -> PythonSensor:
    return PythonSensor(
        task_id=task_id, python_callable=is_sufficient, op_args=[conn_id], poke_interval=interval, mode="reschedule"
    )


build_dags("python_reschedule", build_sensor)
