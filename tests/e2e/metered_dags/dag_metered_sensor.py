"""A sensor that waits long enough for a test to observe its metrics."""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import dag
except ModuleNotFoundError:  # Airflow 2.11
    from airflow.decorators import dag

from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor


@dag(dag_id="metered_sensor", schedule=None, start_date=datetime(2026, 1, 1))
def metered_sensor() -> None:
    SufficientCreditsSensor(
        task_id="wait_for_credits",
        minimum_credits=100,
        leadmagic_conn_id="metered",
        poke_interval=1,
        timeout=600,
        deferrable=True,
    )


metered_sensor()
