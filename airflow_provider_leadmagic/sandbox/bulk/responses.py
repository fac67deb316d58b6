"""
Representations of bulk jobs and their rows: response bodies, the CSV download, and the copies that tests read.

LeadMagic does not document the columns of the CSV. The sandbox uses the fields of a result row and writes input and
output as JSON: one column per input or output field would require all field names before the first row is written.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_leadmagic.sandbox.bulk.jobs import nth_row
from airflow_provider_leadmagic.sandbox.bulk.made_up import DOMAIN, MadeUpJob
from airflow_provider_leadmagic.sandbox.errors import to_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from decimal import Decimal

    from airflow_provider_leadmagic.sandbox.bulk.jobs import DoneRow, Job

Report = dict[str, object]

LINKS = {
    "statusUrl": "",
    "streamUrl": "/stream",
    "resultsUrl": "/results",
    "rowsUrl": "/rows",
    "errorsUrl": "/errors",
    "eventsUrl": "/events",
    "eventsExportUrl": "/events/export",
    "logsUrl": "/logs",
    "downloadUrl": "/download",
    "progressUrl": "/progress",
    "wsUrl": "/ws",
}
COLUMNS = (
    "id",
    "row_index",
    "status",
    "lm_input",
    "lm_output",
    "credits_consumed",
    "error_message",
    "http_status_code",
    "response_time_ms",
    "completed_at",
)
JSON_COLUMNS = ("lm_input", "lm_output")
ROWS_PER_CHUNK = 2000


def report_submission(job: Job, position: int, base_url: str) -> Report:
    """
    Build the body of the response to a submit, whether the job is new or already existed under its idempotency key.

    :param job: The new or existing job.
    :param position: Its position among the active jobs, counted from 1; 0 if it is not active.
    :param base_url: Base URL by which the client reached the sandbox, without a trailing slash.
    """
    return {
        "jobId": job.job_id,
        "product": job.submission.product_name,
        "endpoint": None,
        "totalRows": len(job.submission.rows),
        "status": "uploaded",
        "queue": {
            "position": position,
            "started": job.started_at is not None,
            "queuedAt": to_timestamp(job.created_at),
        },
        **report_links(job, base_url),
    }


def report_links(job: Job, base_url: str) -> Report:
    """
    Return all URLs of a job, each with the job's token.

    :param base_url: Base URL by which the client reached the sandbox, without a trailing slash.
    """
    links: Report = {name: f"{base_url}/bulk/jobs/{job.job_id}{path}?token={job.token}" for name, path in LINKS.items()}
    links["wsUrl"] = str(links["wsUrl"]).replace("http", "ws", 1)
    return {**links, "token": job.token, "exp": job.token_expires_at}


def report_progress(job: Job) -> Report:
    """Build the body of a progress response: the status and the row counts."""
    processed = len(job.done())
    return {
        "status": job.status,
        "processed_items": processed,
        "total_rows": len(job.submission.rows),
        "succeeded_items": processed - job.failed,
        "failed_items": job.failed,
    }


def report_summary(job: Job) -> Report:
    """Build the entry of a job in the list of jobs."""
    return {
        "job_id": job.job_id,
        "products": [job.submission.product_name],
        "submission_product": job.submission.product_name,
        "submission_endpoint": None,
        **report_progress(job),
        "total_credits_consumed": f"{job.credits_consumed:.2f}",
        "created_at": _timestamp(job.created_at),
        "started_at": _timestamp(job.started_at),
        "completed_at": _timestamp(job.completed_at),
        "last_progress_at": _timestamp(job.last_progress_at),
        "file_name": job.submission.file_name,
    }


def report_job(job: Job, base_url: str) -> Report:
    """Build the body of a job status response, with all fields that LeadMagic documents."""
    return {
        **report_summary(job),
        "execution_mode": None,
        "skipped_items": job.skipped,
        "total_duration_ms": _duration(job),
        "callback_url": None,
        "callback_event": None,
        "priority": 0,
        "output_transform": None,
        "links": report_links(job, base_url),
    }


def report_row(job: Job, row: DoneRow) -> Report:
    """Build the entry of a completed row in a page of results."""
    return {
        # Stays the same when the row is processed again.
        "id": f"{job.job_id[:24]}{row.row_index:012d}",
        "row_index": row.row_index,
        "status": row.status,
        "lm_input": job.submission.rows[row.row_index],
        "lm_output": job.result_of(row),
        "credits_consumed": f"{row.credits:.2f}",
        "error_message": row.error,
        "http_status_code": row.http_status,
        # Not measured: the speed of this machine has nothing to do with LeadMagic's.
        "response_time_ms": None,
        "completed_at": to_timestamp(row.completed_at),
    }


def download(job: Job) -> Iterator[bytes]:
    """
    Yield the rows that are completed when the iteration starts, as CSV in the order of completion.

    :return: Chunks of at most ``ROWS_PER_CHUNK`` rows, UTF-8 encoded.
    """
    # Rows that are completed during the download are not part of it.
    done, rows = job.done(), len(job.done())
    yield (",".join(COLUMNS) + "\r\n").encode()
    for start in range(0, rows, ROWS_PER_CHUNK):
        stop = min(start + ROWS_PER_CHUNK, rows)
        text = _made_up_lines(job, start, stop) if isinstance(job, MadeUpJob) else _lines(job, done[start:stop])
        # The submitted text may contain lone surrogates, which UTF-8 cannot encode.
        yield text.encode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class BulkJob:
    """
    A copy of a job, for tests to inspect. It does not change when the job continues.

    :param job_id: The job's ID.
    :param token: The token that replaces the API key in requests that read this job.
    :param product: The product's name as it was submitted.
    :param status: ``uploaded``, ``queued``, ``processing``, ``paused``, ``completed``, ``failed`` or ``canceled``.
    :param idempotency_key: The key it was submitted with; ``None`` if it was submitted without one, or if the job is a
        restart of another one.
    :param rows: Number of submitted rows. Each is processed, skipped or pending.
    :param processed: Number of rows that succeeded or failed.
    :param failed: Number of rows that failed.
    :param skipped: Number of rows that are never processed, after a cancellation for example.
    :param credits: Credits charged for the job. For a ``MadeUpJob``, which tests large results and is never charged,
        its price.
    """

    job_id: str
    token: str
    product: str
    status: str
    idempotency_key: str | None
    rows: int
    processed: int
    failed: int
    skipped: int
    credits: Decimal

    @classmethod
    def of(cls, job: Job) -> BulkJob:
        """Copy the current state of a job."""
        return cls(
            job_id=job.job_id,
            token=job.token,
            product=job.submission.product_name,
            status=str(job.status),
            idempotency_key=job.submission.idempotency_key,
            rows=len(job.submission.rows),
            processed=len(job.done()),
            failed=job.failed,
            skipped=job.skipped,
            credits=job.credits_consumed,
        )


def _duration(job: Job) -> int | None:
    if job.started_at is None or job.completed_at is None:
        return None
    return round(1000 * (job.completed_at - job.started_at))


def _timestamp(moment: float | None) -> str | None:
    return None if moment is None else to_timestamp(moment)


def _lines(job: Job, rows: Sequence[DoneRow]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(_cells(job, row) for row in rows)
    return text.getvalue()


def _cells(job: Job, row: DoneRow) -> list[object]:
    report = report_row(job, row)
    for name in JSON_COLUMNS:
        report[name] = None if report[name] is None else json.dumps(report[name])
    return [report[name] for name in COLUMNS]


def _made_up_lines(job: MadeUpJob, start: int, stop: int) -> str:
    # Writes the same lines as _lines(), but about 12 times as fast, so that a million rows take seconds.
    total, head = len(job.submission.rows), job.job_id[:24]
    tail = f"{job.credits_consumed / total:.2f},,200,,{to_timestamp(job.created_at)}\r\n"
    return "".join(
        f'{head}{row:012d},{row},success,"{{""full_name"": ""Lead {row}"", ""domain"": ""{DOMAIN}""}}",'
        f'"{{""email"": ""lead.{row}@{DOMAIN}"", ""status"": ""valid""}}",{tail}'
        for row in (nth_row(position, total) for position in range(start, stop))
    )
