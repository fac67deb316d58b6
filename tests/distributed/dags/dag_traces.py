"""DAGs that could leak a key or a token: sensors in all modes, a check, a bulk job and a watcher."""

from __future__ import annotations

import logging
import os
from datetime import datetime, timedelta
from pathlib import Path

from airflow.sdk import Asset, AssetWatcher, dag, task

from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator
from airflow_provider_leadmagic.operators.credits import CheckCreditsOperator
from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor
from airflow_provider_leadmagic.triggers.credits import CreditsCrossingTrigger

START = datetime(2026, 1, 1)
FOLDER = Path(os.environ.get("LEADMAGIC_TEST_BULK_FOLDER", "."))
MODES = {"poke": {"mode": "poke"}, "reschedule": {"mode": "reschedule"}, "deferrable": {"deferrable": True}}
SENSOR = {"minimum_credits": 500, "poke_interval": 10, "timeout": 3600, "deferrable": False}

topped_up = Asset(
    name="credits_topped_up",
    watchers=[
        AssetWatcher(name="watcher", trigger=CreditsCrossingTrigger("rises_to", 500, "watched", poke_interval=10))
    ],
)


@dag(
    dag_id="traces",
    schedule=None,
    start_date=START,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=5)},
)
def traces() -> None:
    SufficientCreditsSensor(task_id="stored", leadmagic_conn_id="stored", **{**SENSOR, "deferrable": True})
    for conn_id in ("echo", "wrong_key"):
        for mode, arguments in MODES.items():
            sensor = {**SENSOR, **arguments, "retries": 0}
            SufficientCreditsSensor(task_id=f"{conn_id}_{mode}", leadmagic_conn_id=conn_id, **sensor)
    BulkEnrichmentOperator(
        task_id="bulk",
        product="email_finder",
        rows=[{"full_name": f"Lead {number}", "domain": "example.com"} for number in range(20)],
        output_path=FOLDER / "enriched.csv",
        leadmagic_conn_id="bulk",
        deferrable=True,
        poll_interval=10,
    )

    @task
    def says_the_key() -> None:
        """Log an API key, to prove that the search would find one in a log."""
        from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

        logging.getLogger(__name__).info("The key, on purpose: %s.", LeadMagicHook.get_connection("logged").password)

    says_the_key()


@dag(dag_id="starts_on_top_up", schedule=[topped_up], start_date=START, catchup=False)
def starts_on_top_up() -> None:
    CheckCreditsOperator(task_id="check", minimum_credits=500, leadmagic_conn_id="watched")


traces()
starts_on_top_up()
