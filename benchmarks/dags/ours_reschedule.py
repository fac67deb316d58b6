"""The DAG of a gate of this package, where there is no triggerer."""

from __future__ import annotations

from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor
from benchmarks.waiting_dags import build_dags


def gate(task_id: str, conn_id: str, interval: float) -> SufficientCreditsSensor:
    return SufficientCreditsSensor(
        task_id=task_id,
        leadmagic_conn_id=conn_id,
        minimum_credits=100,
        poke_interval=interval,
        mode="reschedule",
        deferrable=False,
    )


build_dags("ours_reschedule", gate)
