"""Sensors that claim credits: one that has to wait, one in a mapped task group, and one that is mapped itself."""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import dag, task, task_group
except ModuleNotFoundError:  # Airflow 2.11
    from airflow.decorators import dag, task, task_group

from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor

ARGUMENTS = {"claim_pool": "claims", "claim_settle": 0, "deferrable": True, "poke_interval": 0.5}


@dag(dag_id="claims", schedule=None, start_date=datetime(2026, 1, 1), default_args={"pool": "claims"})
def claims() -> None:
    @task
    def spend(number: int = 0) -> int:
        return number

    @task_group
    def of_one_region(minimum: int) -> None:
        claim = SufficientCreditsSensor(
            task_id="claim", minimum_credits=minimum, release_after=["of_one_region.spend"], **ARGUMENTS
        )
        claim >> spend(minimum)

    waits = SufficientCreditsSensor(task_id="waits", minimum_credits=100, **ARGUMENTS)
    mapped = SufficientCreditsSensor.partial(task_id="mapped", **ARGUMENTS).expand(minimum_credits=[40, 60])
    waits >> of_one_region.expand(minimum=[90, 100]) >> mapped


claims()
