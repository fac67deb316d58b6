"""Jobs as tests look at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

    from airflow_provider_leadmagic.sandbox.bulk.jobs import Job


@dataclass(frozen=True)
class BulkJob:
    """
    A job as it was when somebody looked.

    :param rows: how many were submitted; each is processed, skipped, or still to do.
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


def view_job(job: Job) -> BulkJob:
    """Look at a job."""
    return BulkJob(
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
