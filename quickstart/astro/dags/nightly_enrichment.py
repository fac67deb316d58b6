"""The first DAG of the README."""

from __future__ import annotations

from datetime import datetime

from airflow import DAG

from airflow_provider_leadmagic.operators.credits import CheckCreditsOperator
from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor

with DAG("nightly_enrichment", schedule="@daily", start_date=datetime(2026, 1, 1), catchup=False):
    check = CheckCreditsOperator(task_id="check_credits", warn_below=1000)
    wait = SufficientCreditsSensor(task_id="wait_for_credits", minimum_credits=500, poke_interval=60, deferrable=True)
    check >> wait  # >> your enrichment, which starts when 500 credits can be spent
