"""The DAG of a deferrable sensor that somebody wrote in an afternoon."""

from __future__ import annotations

from benchmarks.own_trigger import BalanceSensor
from benchmarks.waiting_dags import build_dags


def gate(task_id: str, conn_id: str, interval: float) -> BalanceSensor:
    return BalanceSensor(task_id=task_id, conn_id=conn_id, minimum_credits=100, poke_interval=interval)


build_dags("own_trigger", gate)
