"""A first DAG: a check, then a sensor."""

from __future__ import annotations

from datetime import datetime

from airflow import DAG

from airflow_provider_leadmagic.operators.credits import CheckCreditsOperator
from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor

with DAG("first_use", schedule=None, start_date=datetime(2026, 1, 1), catchup=False):
    check = CheckCreditsOperator(task_id="check", minimum_credits=500, on_insufficient="continue")
    wait_for_credits = SufficientCreditsSensor(
        task_id="wait_for_credits", minimum_credits=500, deferrable=True, poke_interval=1, timeout=60
    )
    check >> wait_for_credits
