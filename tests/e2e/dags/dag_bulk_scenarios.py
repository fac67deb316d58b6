"""One DAG with a bulk job per scenario of the end-to-end tests."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

try:
    from airflow.sdk import DAG, Asset, AssetAlias
except ModuleNotFoundError:  # Airflow 2.11
    from airflow import DAG
    from airflow.datasets import Dataset as Asset
    from airflow.datasets import DatasetAlias as AssetAlias

from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator

# From tests/e2e/bulk_scenarios.py, which a DAG file cannot import.
ROWS = int(os.environ.get("LEADMAGIC_TEST_BULK_ROWS", "0"))
FOLDER = Path(os.environ.get("LEADMAGIC_TEST_BULK_FOLDER", "."))
ON_WORKER = os.environ.get("LEADMAGIC_TEST_BULK_ON_WORKER", "").split()
IN_TRIGGERER = os.environ.get("LEADMAGIC_TEST_BULK_IN_TRIGGERER", "").split()

for scenario in ON_WORKER + IN_TRIGGERER:
    with DAG(scenario, schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        BulkEnrichmentOperator(
            task_id="enrich",
            product="email_finder",
            rows=[{"full_name": f"Lead {number}", "domain": "example.com", "crm_id": number} for number in range(ROWS)],
            output_path=FOLDER / f"{scenario}.csv",
            leadmagic_conn_id=scenario,
            outlets=[Asset(f"x-leads://{scenario}"), AssetAlias("leads")],
            deferrable=scenario in IN_TRIGGERER,
            poll_interval=1,
            retries=0 if scenario == "bulk_results_come_late" else 3,
            retry_delay=timedelta(seconds=30 if scenario == "bulk_cleared_twice" else 1),
        )
    globals()[scenario] = dag
