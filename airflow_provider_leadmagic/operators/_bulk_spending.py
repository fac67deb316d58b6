"""Report what a bulk enrichment task has done and spent: as XComs, on the events of its assets, and as a metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.text import json_number
from airflow_provider_leadmagic.compat.task_state import asset_outlets
from airflow_provider_leadmagic.hooks.metrics import count_spent_credits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_leadmagic.api.jobs import BulkJob
    from airflow_provider_leadmagic.bulk.output import ResultFiles
    from airflow_provider_leadmagic.bulk.previous_attempts import SubmittedJob
    from airflow_provider_leadmagic.bulk.results import WrittenRows
    from airflow_provider_leadmagic.compat.imports import BaseOperator, Context

#: Key of the XCom with the spending record, and of the record in the ``extra`` of an asset event.
SPENDING_XCOM_KEY = "leadmagic"


def task_result(job: BulkJob, submitted_job: SubmittedJob, written: WrittenRows, files: ResultFiles) -> dict[str, Any]:
    """
    Return what the task returns, as plain JSON.

    :param job: The finished job.
    :param submitted_job: The same job, as submitted.
    :param written: The rows in the files.
    :param files: The files that were written.
    """
    return {
        "job_id": job.job_id,
        "status": job.status,
        "total_rows": job.total_rows,
        "succeeded": written.succeeded,
        "failed": written.failed,
        "skipped": written.skipped,
        "credits_estimated": None if submitted_job.estimate is None else json_number(submitted_job.estimate),
        "credits_consumed": None if job.credits_consumed is None else json_number(job.credits_consumed),
        "output_path": files.output_path,
        "errors_path": files.errors_path,
    }


def spending_record(result: Mapping[str, Any], conn_id: str, product: str) -> dict[str, Any]:
    """
    Return the spending record of a finished bulk job, as plain JSON.

    ``credits`` is None if LeadMagic's number is invalid. ``rows`` is the number of rows in both output files together.

    :param result: What the task returns.
    :param conn_id: Connection of the task.
    :param product: LeadMagic's name of the product.
    """
    counts = {name: result[name] for name in ("succeeded", "failed", "skipped")}
    job = {"job_id": result["job_id"], "conn_id": conn_id, "product": product, "credits": result["credits_consumed"]}
    return {**job, "rows": sum(counts.values()), **counts}


def report_spending(task: BaseOperator, context: Context, record: dict[str, Any]) -> None:
    """
    Push the record as an XCom, add it to the asset events of the task, and count the credits.

    The credits are counted last, so that the retry of a failed attempt does not count them twice.

    :param task: The operator.
    :param context: The task's context.
    :param record: See :func:`spending_record`.
    """
    if task.do_xcom_push:
        context["ti"].xcom_push(key=SPENDING_XCOM_KEY, value=record)
    for asset in asset_outlets(task.outlets):
        _add_to_event(task, context, asset, record)
    ids = {"dag_id": context["ti"].dag_id, "task_id": context["ti"].task_id}
    count_spent_credits(record["credits"], record["conn_id"], record["product"], ids)


def _add_to_event(task: BaseOperator, context: Context, asset: Any, record: dict[str, Any]) -> None:
    try:
        event = context["outlet_events"][asset]
        event.extra = {**event.extra, SPENDING_XCOM_KEY: record}
    except Exception as error:
        # Airflow looks up the asset of a reference such as Asset.ref(name="leads"), which can fail. This must not fail
        # the task, whose results are already written.
        task.log.warning("Cannot add the spending record to the asset event: %s. [%s]", type(error).__name__, asset)
