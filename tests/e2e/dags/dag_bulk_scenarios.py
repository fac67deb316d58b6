"""One bulk job for each story of the end-to-end tests, as a scheduler runs them."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

try:
    from airflow.sdk import DAG
except ModuleNotFoundError:  # Airflow 2.11
    from airflow import DAG

from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator

# As in tests/e2e/bulk_scenarios.py, which a DAG file cannot import.
ROWS = int(os.environ.get("LEADMAGIC_TEST_BULK_ROWS", "0"))
FOLDER = Path(os.environ.get("LEADMAGIC_TEST_BULK_FOLDER", "."))
ON_THE_WORKER = os.environ.get("LEADMAGIC_TEST_BULK_ON_THE_WORKER", "").split()
IN_THE_TRIGGERER = os.environ.get("LEADMAGIC_TEST_BULK_IN_THE_TRIGGERER", "").split()

for story in ON_THE_WORKER + IN_THE_TRIGGERER:
    with DAG(story, schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        BulkEnrichmentOperator(
            task_id="enrich",
            product="email_finder",
            rows=[{"full_name": f"Lead {number}", "domain": "example.com", "crm_id": number} for number in range(ROWS)],
            output_path=FOLDER / f"{story}.csv",
            leadmagic_conn_id=story,
            deferrable=story in IN_THE_TRIGGERER,
            poll_interval=1,
            retries=3,
            retry_delay=timedelta(seconds=1),
        )
    globals()[story] = dag
