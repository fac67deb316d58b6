"""Bulk tasks that report their spending: mapped, with several XComs or none, and with outlets of each kind."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

try:
    from airflow.sdk import DAG, Asset, AssetAlias, task
except ModuleNotFoundError:  # Airflow 2.11
    from airflow import DAG
    from airflow.datasets import Dataset as Asset
    from airflow.datasets import DatasetAlias as AssetAlias
    from airflow.decorators import task

from airflow_provider_leadmagic.compat.task_state import current_task
from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator

FOLDER = Path(os.environ["AIRFLOW_HOME"]) / "spending"
ALIAS = AssetAlias("leads_of_alias")


def leads(number: int) -> list[dict[str, Any]]:
    return [{"full_name": f"Lead {index}", "domain": "example.com"} for index in range(number)]


def add_to_alias(context: Any) -> None:
    context["outlet_events"][ALIAS].add(Asset("x-leads://of_alias"), extra={"team": "sales"})


with DAG("spending", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
    FOLDER.mkdir(exist_ok=True)
    arguments: dict[str, Any] = {"product": "email_finder", "output_path": f"{FOLDER}/{{{{ ti.task_id }}}}.csv"}
    by_index = {**arguments, "output_path": f"{FOLDER}/{{{{ ti.map_index }}}}.csv"}
    BulkEnrichmentOperator.partial(task_id="mapped", outlets=[Asset("x-leads://mapped")], **by_index).expand(
        rows=[leads(1), leads(2)]
    )
    BulkEnrichmentOperator(task_id="several_xcoms", rows=leads(3), multiple_outputs=True, **arguments)
    BulkEnrichmentOperator(
        task_id="without_xcoms", rows=leads(4), do_xcom_push=False, outlets=[Asset("x-leads://quiet")], **arguments
    )
    BulkEnrichmentOperator(task_id="alias", rows=leads(5), outlets=[ALIAS], pre_execute=add_to_alias, **arguments)

    @task
    def running() -> dict[str, str]:
        return current_task()

    running()
