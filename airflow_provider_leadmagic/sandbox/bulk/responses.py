"""
How jobs and their rows are reported: the bodies of responses, the CSV download, and the jobs that tests read.

The columns of the CSV are documented nowhere. Here they are the fields of a result row, two of them as JSON, because
columns for the fields of a product would have to be known before the first row is read.
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
ROWS_PER_PIECE = 2000


def report_submission(job: Job, position: int, base_url: str) -> Report:
    """Describe a job as it was submitted, also if it already existed under its idempotency key."""
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
    List all URLs of a job, each with its token.

    :param base_url: the URL under which the client reached the sandbox, without a slash at the end.
    """
    links: Report = {name: f"{base_url}/bulk/jobs/{job.job_id}{path}?token={job.token}" for name, path in LINKS.items()}
    links["wsUrl"] = str(links["wsUrl"]).replace("http", "ws", 1)
    return {**links, "token": job.token, "exp": job.token_expires_at}


def report_progress(job: Job) -> Report:
    """Count the rows of a job."""
    processed = len(job.done())
    return {
        "status": job.status,
        "processed_items": processed,
        "total_rows": len(job.submission.rows),
        "succeeded_items": processed - job.failed,
        "failed_items": job.failed,
    }


def report_summary(job: Job) -> Report:
    """Describe a job as in the list of jobs."""
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
    """Describe a job with everything that LeadMagic reports about it."""
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
    """Describe a completed row."""
    return {
        # The same for the same row, also when it is processed again.
        "id": f"{job.job_id[:24]}{row.row_index:012d}",
        "row_index": row.row_index,
        "status": row.status,
        "lm_input": job.submission.rows[row.row_index],
        "lm_output": job.result_of(row),
        "credits_consumed": f"{row.credits:.2f}",
        "error_message": row.error,
        "http_status_code": row.http_status,
        # Not measured: the speed of this machine says nothing about LeadMagic.
        "response_time_ms": None,
        "completed_at": to_timestamp(row.completed_at),
    }


def download(job: Job) -> Iterator[bytes]:
    """
    Write the rows that are completed now as CSV, in the order of the results.

    :return: pieces of bounded size.
    """
    # The list may grow while it is read.
    done, rows = job.done(), len(job.done())
    yield (",".join(COLUMNS) + "\r\n").encode()
    for start in range(0, rows, ROWS_PER_PIECE):
        stop = min(start + ROWS_PER_PIECE, rows)
        text = _made_up_lines(job, start, stop) if isinstance(job, MadeUpJob) else _lines(job, done[start:stop])
        # A client may have submitted, and gets back, text that UTF-8 cannot encode.
        yield text.encode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class BulkJob:
    """
    A job for tests to read, as it was at one time.

    :param rows: how many were submitted; each is processed, skipped, or still pending.
    :param processed: how many succeeded or failed.
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
        """Copy what a job is now."""
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
    # The same lines as _lines() writes, a dozen times as fast, so that a million rows take seconds.
    total, head = len(job.submission.rows), job.job_id[:24]
    tail = f"{job.credits_consumed / total:.2f},,200,,{to_timestamp(job.created_at)}\r\n"
    return "".join(
        f'{head}{row:012d},{row},success,"{{""full_name"": ""Lead {row}"", ""domain"": ""{DOMAIN}""}}",'
        f'"{{""email"": ""lead.{row}@{DOMAIN}"", ""status"": ""valid""}}",{tail}'
        for row in (nth_row(position, total) for position in range(start, stop))
    )
