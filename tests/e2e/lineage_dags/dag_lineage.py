"""A bulk task that reads a file."""

from __future__ import annotations

import os
from datetime import datetime

try:
    from airflow.sdk import DAG
except ModuleNotFoundError:  # Airflow 2.11
    from airflow import DAG

from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator

FOLDER = os.environ.get("LEADMAGIC_TEST_LINEAGE_FOLDER", "")

with DAG("lineage", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
    BulkEnrichmentOperator(
        task_id="enrich",
        product="email_finder",
        input_path=f"file://{FOLDER}/leads.csv",
        output_path=f"{FOLDER}/found.csv",
    )
