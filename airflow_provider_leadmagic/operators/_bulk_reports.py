"""Report what a bulk enrichment task has done and spent: XComs, asset events, a metric, and lineage for OpenLineage."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.text import json_number
from airflow_provider_leadmagic.bulk.storage import LOCAL_PROTOCOLS
from airflow_provider_leadmagic.compat.task_state import asset_outlets
from airflow_provider_leadmagic.hooks.metrics import count_spent_credits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_leadmagic.api.jobs import BulkJob
    from airflow_provider_leadmagic.bulk.output import ResultFiles
    from airflow_provider_leadmagic.bulk.previous_attempts import SubmittedJob
    from airflow_provider_leadmagic.bulk.results import WrittenRows
    from airflow_provider_leadmagic.compat.imports import BaseOperator, Context

#: Key of the XCom with the spending record, and of the record in the ``extra`` of an asset event.
SPENDING_XCOM_KEY = "leadmagic"

#: Protocols that OpenLineage knows under another name.
_SCHEMES = {"s3a": "s3", "gcs": "gs"}


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

    The credits are counted last: if the XCom or the events fail, only the retry counts them.

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


def lineage_of(input_path: object, result: Mapping[str, Any]) -> OperatorLineage | None:
    """
    Return the files that a task has read and written, with the number of rows in each output file.

    :param input_path: The file with the records; None if they were given as ``rows``.
    :param result: What the task returns.
    :return: None if Airflow's OpenLineage provider is not installed.
    """
    try:
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.event_v2 import InputDataset, OutputDataset
        from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics
    except ImportError:
        return None
    inputs = [] if input_path is None else [InputDataset(*dataset_name(str(input_path)))]
    errors = result["failed"] + result["skipped"]
    outputs = []
    for path, rows in ((result["output_path"], result["succeeded"]), (result["errors_path"], errors)):
        facet = statistics.OutputStatisticsOutputDatasetFacet(rowCount=rows)
        outputs.append(OutputDataset(*dataset_name(path), outputFacets={"outputStatistics": facet}))
    return OperatorLineage(inputs=inputs, outputs=outputs)


def dataset_name(location: str) -> tuple[str, str]:
    """
    Return namespace and name of a file, by OpenLineage's naming rules.

    They contain neither the connection, such as ``my_conn`` in ``s3://my_conn@bucket/leads.csv``, nor the query of a
    signed URL.

    :param location: Path or URL.
    """
    scheme, separator, rest = location.partition("://")
    if not separator:
        return "file", os.path.abspath(location)
    authority, _, key = rest.partition("/")
    authority = authority.rpartition("@")[2]
    if scheme in LOCAL_PROTOCOLS:
        return "file", os.path.abspath(f"{authority}/{key}")
    if scheme in ("http", "https"):
        key = key.partition("?")[0]
    return f"{_SCHEMES.get(scheme, scheme)}://{authority}", key
