"""DAGs that claim the credits that they spend."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, task

from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor

CLAIMED = json.loads(os.environ.get("LEADMAGIC_TEST_CLAIMED", "{}"))
FOLDER = Path(os.environ.get("LEADMAGIC_TEST_BULK_FOLDER", "."))
RETRIES = {"retries": 5, "retry_delay": timedelta(seconds=5)}


@task
def spend(dag_id: str, credits_: int) -> None:
    """Spend one credit at a time, in total no more than was claimed."""
    progress = FOLDER / f"{dag_id}.progress"
    with LeadMagicHook("claims", max_attempts=1).get_conn() as client, progress.open("ab", buffering=0) as file:
        while file.tell() < credits_:
            file.write(b".")  # before the request: a task killed after it must not spend this credit again
            client.enrich("email_finder", full_name="Lead", domain="example.com")
            time.sleep(0.05)


for dag_id, credits_ in CLAIMED.items():
    with DAG(dag_id, schedule=None, start_date=datetime(2026, 1, 1), default_args=RETRIES) as dag:
        sensor = SufficientCreditsSensor(
            task_id="claim",
            minimum_credits=credits_,
            leadmagic_conn_id="claims",
            claim_pool="claims",
            claim_settle=20,
            poke_interval=10,
            timeout=3600,
            deferrable=True,
        )
        sensor >> spend(dag_id, credits_)
    globals()[dag_id] = dag
