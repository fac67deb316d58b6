"""One bulk job: its states, the order in which its rows are processed, and the charges per row."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Self
from uuid import uuid4

from airflow_provider_leadmagic.sandbox.account import InsufficientCreditsError
from airflow_provider_leadmagic.sandbox.errors import WrongStateError
from airflow_provider_leadmagic.sandbox.products import RowFailedError, look_up_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_provider_leadmagic.sandbox.account import Account
    from airflow_provider_leadmagic.sandbox.bulk.submit_request import Submission

NOTHING = Decimal(0)
# In LeadMagic's samples, the token that gives access to a job expires two days after the job's creation (the year in
# the samples is wrong).
TOKEN_SECONDS = 2 * 86_400
# Number of rows in a group that is completed in reverse order, which simulates parallel processing.
WORKERS = 4


def completion_order(first: int, rows: int) -> Iterator[int]:
    """
    Return the row indices in the order of completion: in groups of ``WORKERS``, the last row of each group first.

    It is deterministic, but never the order of submission, so that tests notice a client that relies on that order.

    :param first: Index of the first row to process.
    :param rows: Number of rows of the job, including those before ``first``.
    """
    for start in range(first, rows, WORKERS):
        yield from reversed(range(start, min(start + WORKERS, rows)))


def nth_row(position: int, rows: int) -> int:
    """
    Return the index of the row that is completed at a position, in a job that starts with row 0.

    :param position: Position in the order of completion, counted from 0.
    :param rows: Number of rows of the job.
    """
    start = position - position % WORKERS
    return start + min(start + WORKERS, rows) - 1 - position


class JobStatus(StrEnum):
    """The states that LeadMagic documents. Some of its responses report ``PROCESSING`` as ``running``."""

    UPLOADED = "uploaded"
    QUEUED = "queued"
    PROCESSING = "processing"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


ACTIVE = (JobStatus.UPLOADED, JobStatus.QUEUED, JobStatus.PROCESSING)
ENDED = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELED)


class RowStatus(StrEnum):
    """The outcome of a row. A miss is a free success, because single lookups return 200 for it."""

    SUCCESS = "success"
    FAILED = "failed"


class DoneRow(NamedTuple):
    """A completed row. Its result is not stored, but looked up again when the row is read."""

    row_index: int
    completed_at: float
    credits: Decimal = NOTHING
    error: str | None = None
    http_status: int = 200

    @property
    def status(self) -> RowStatus:
        """The outcome of the row."""
        return RowStatus.SUCCESS if self.error is None else RowStatus.FAILED


@dataclass
class Job:
    """
    A bulk job. It has no clock: callers pass the time, in seconds since the Unix epoch.

    :param submission: The request that created the job.
    :param created_at: When it was submitted.
    :param skipped: Number of rows that are never processed.
    :param failed: Number of rows that failed.
    :param charges: Number of charges per row index.
    """

    submission: Submission
    created_at: float
    skipped: int = 0
    failed: int = 0
    job_id: str = field(default_factory=lambda: str(uuid4()))
    # Has the format of LeadMagic's tokens; gives access to this job only.
    token: str = field(default_factory=lambda: f"prt_{uuid4().hex}")
    status: JobStatus = JobStatus.UPLOADED
    started_at: float | None = None
    completed_at: float | None = None
    last_progress_at: float | None = None
    credits_consumed: Decimal = NOTHING
    charges: Counter[int] = field(default_factory=Counter)
    _pending: deque[int] = field(default_factory=deque)
    _failures: Counter[int] = field(default_factory=Counter)
    _done: list[DoneRow] = field(default_factory=list)

    @classmethod
    def of(cls, submission: Submission, created_at: float, first_row: int = 0) -> Self:
        """
        Create a job in which no row has been processed.

        :param first_row: Index of the first row to process; the rows before it are skipped.
        """
        pending = deque(completion_order(first_row, len(submission.rows)))
        return cls(submission, created_at, skipped=first_row, _pending=pending)

    @property
    def token_expires_at(self) -> int:
        """When its token expires, in seconds since the Unix epoch."""
        return int(self.created_at) + TOKEN_SECONDS

    @property
    def is_active(self) -> bool:
        """Whether it is neither paused nor ended, so that it needs no resume or restart."""
        return self.status in ACTIVE

    def done(self, status: str | None = None) -> Sequence[DoneRow]:
        """
        Return the completed rows in the order of completion.

        New rows are appended, so positions are stable until :meth:`retry_failed` removes the failed rows.

        :param status: Return only rows with this :class:`RowStatus`; all rows by default.
        """
        return self._done if status is None else [row for row in self._done if row.status == status]

    def result_of(self, row: DoneRow) -> dict[str, object] | None:
        """Return the lookup result of a completed row; ``None`` if the row failed."""
        if row.status is RowStatus.FAILED:
            return None
        product = self.submission.product
        return product.look_up(product.check(self.submission.rows[row.row_index])).result

    def begin(self, at: float) -> None:
        """Start or continue processing."""
        self.status = JobStatus.PROCESSING
        if self.started_at is None:
            self.started_at = at

    def wait(self) -> None:
        """Wait in the queue until the jobs before it have ended or are paused."""
        self.status = JobStatus.QUEUED

    def process_row(self, account: Account, at: float) -> bool:
        """
        Process the next row, or pause the job if the credits do not cover the row's price.

        :param account: The account to charge.
        :param at: Completion time of the row.
        :return: Whether the row was completed.
        """
        try:
            row = self._look_up(self._pending[0], account, at)
        except InsufficientCreditsError:
            self.status = JobStatus.PAUSED
            return False
        self._pending.popleft()
        self._done.append(row)
        self.last_progress_at = at
        if not self._pending:
            self._end(JobStatus.COMPLETED, at)
        return True

    def pause(self) -> None:
        """
        Pause the job until it is resumed.

        :raises WrongStateError: If the job has ended.
        """
        self._check_not_ended("pause")
        self.status = JobStatus.PAUSED

    def resume(self) -> None:
        """
        Queue a paused job again. An active job does not change.

        :raises WrongStateError: If the job has ended.
        """
        self._check_not_ended("resume")
        if not self.is_active:
            self.status = JobStatus.QUEUED

    def cancel(self, at: float) -> None:
        """
        Cancel the job, even if it is paused: LeadMagic documents no other way to end a paused job.

        :raises WrongStateError: If the job has ended.
        """
        self._check_not_ended("cancel")
        self._end(JobStatus.CANCELED, at)

    def fail(self, at: float) -> None:
        """
        End the job as failed, as LeadMagic does after an internal error.

        :raises WrongStateError: If the job has ended.
        """
        self._check_not_ended("fail")
        self._end(JobStatus.FAILED, at)

    def retry_failed(self) -> bool:
        """
        Queue the failed rows of an ended job again.

        :return: Whether there were failed rows.
        :raises WrongStateError: If the job has not ended.
        """
        self.check_ended("restart")
        failed = [row.row_index for row in self.done(RowStatus.FAILED)]
        if failed:
            # A new list, because a download may still be reading the old one.
            self._done = [*self.done(RowStatus.SUCCESS)]
            self._pending.extend(failed)
            self.failed = 0
            self.status, self.completed_at = JobStatus.QUEUED, None
        return bool(failed)

    def check_ended(self, action: str) -> None:
        """
        Check that the job has ended.

        :param action: The requested action, for the error message.
        :raises WrongStateError: If the job has not ended.
        """
        if self.status not in ENDED:
            raise WrongStateError(action, self.status)

    def _look_up(self, row_index: int, account: Account, at: float) -> DoneRow:
        product = self.submission.product
        try:
            lookup = look_up_row(product, self.submission.rows[row_index], self._failures[row_index])
        except RowFailedError as error:
            self._failures[row_index] += 1
            self.failed += 1
            return DoneRow(row_index, at, error=str(error), http_status=error.http_status)
        consumed = account.pay(product.name, product.price, found=lookup.found, at=at).consumed
        if consumed:
            self.charges[row_index] += 1
        self.credits_consumed += consumed
        return DoneRow(row_index, at, consumed)

    def _end(self, status: JobStatus, at: float) -> None:
        self.status, self.completed_at = status, at
        self.skipped += len(self._pending)
        self._pending.clear()

    def _check_not_ended(self, action: str) -> None:
        if self.status in ENDED:
            raise WrongStateError(action, self.status)
