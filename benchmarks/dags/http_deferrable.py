"""``HttpSensor`` with ``deferrable=True`` and a check of the balance."""

from __future__ import annotations

from airflow.providers.http.sensors.http import HttpSensor

from benchmarks.sensor_dags import build_dags


def build_sensor(task_id: str, conn_id: str, interval: float) -> HttpSensor:
    return HttpSensor(
        task_id=task_id,
        http_conn_id=conn_id,
        endpoint="v1/credits",
        response_check=lambda response: response.json()["credits"] >= 100,
        poke_interval=interval,
        deferrable=True,
    )


build_dags("http_deferrable", build_sensor)
