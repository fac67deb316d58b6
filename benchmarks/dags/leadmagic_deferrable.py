"""``SufficientCreditsSensor`` as the README recommends it."""

from __future__ import annotations

from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor
from benchmarks.sensor_dags import build_dags


def build_sensor(task_id: str, conn_id: str, interval: float) -> SufficientCreditsSensor:
    return SufficientCreditsSensor(
        task_id=task_id, leadmagic_conn_id=conn_id, minimum_credits=100, poke_interval=interval, deferrable=True
    )


build_dags("leadmagic_deferrable", build_sensor)
