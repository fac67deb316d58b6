"""The bodies of answers about jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_leadmagic.sandbox.errors import to_timestamp

if TYPE_CHECKING:
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


def report_submission(job: Job, position: int, base_url: str) -> Report:
    """Describe a job as it was when it was submitted, also where it is found again by its idempotency key."""
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
    Name all addresses of a job, its token in each of them.

    :param base_url: where the caller reached the sandbox, without a slash at the end.
    """
    links: Report = {name: f"{base_url}/bulk/jobs/{job.job_id}{path}?token={job.token}" for name, path in LINKS.items()}
    links["wsUrl"] = str(links["wsUrl"]).replace("http", "ws", 1)
    return {**links, "token": job.token, "exp": job.token_expires_at}


def report_progress(job: Job) -> Report:
    """Count the rows."""
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
    """Describe a job by itself."""
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
    """Describe a row that is done."""
    return {
        # The same for the same row, also when it is done again.
        "id": f"{job.job_id[:24]}{row.row_index:012d}",
        "row_index": row.row_index,
        "status": row.status,
        "lm_input": job.submission.rows[row.row_index],
        "lm_output": job.found(row),
        "credits_consumed": f"{row.credits:.2f}",
        "error_message": row.error,
        "http_status_code": row.http_status,
        # Not measured: how fast this machine is would say nothing about LeadMagic.
        "response_time_ms": None,
        "completed_at": to_timestamp(row.completed_at),
    }


def _duration(job: Job) -> int | None:
    if job.started_at is None or job.completed_at is None:
        return None
    return round(1000 * (job.completed_at - job.started_at))


def _timestamp(moment: float | None) -> str | None:
    return None if moment is None else to_timestamp(moment)
