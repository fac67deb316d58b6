"""Read the balance once, for the demo with LEADMAGIC_API_KEY: no threshold, no retries, and no credits spent."""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ModuleNotFoundError:  # Airflow 2.11
    from airflow import DAG

from airflow_provider_leadmagic.operators.credits import CheckCreditsOperator

with DAG("read_the_balance", schedule=None, start_date=datetime(2026, 1, 1)):
    CheckCreditsOperator(task_id="check_credits", retries=0)
