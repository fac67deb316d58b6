"""The handwritten deferrable sensor."""

from __future__ import annotations

from benchmarks.handwritten_sensor import BalanceSensor
from benchmarks.sensor_dags import build_dags


def build_sensor(task_id: str, conn_id: str, interval: float) -> BalanceSensor:
    return BalanceSensor(task_id=task_id, conn_id=conn_id, minimum_credits=100, poke_interval=interval)


build_dags("handwritten", build_sensor)
