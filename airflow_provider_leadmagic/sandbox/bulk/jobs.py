"""One bulk job: its states, its rows in the order in which they are processed, and what was charged for each row."""

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
    from airflow_provider_leadmagic.sandbox.bulk.submission import Submission

NOTHING = Decimal(0)
# In LeadMagic's samples a token expires two days after its job was created, if their wrong year is ignored.
TOKEN_SECONDS = 2 * 86_400
# How many rows are processed side by side.
WORKERS = 4


def completion_order(first: int, rows: int) -> Iterator[int]:
    """
    List the rows as they are completed: in groups of ``WORKERS``, the last row of each group first.

    This is never the order in which they were submitted, as clients must not rely on it, and it is always the same.

    :param first: the first row to process.
    :param rows: how many rows there are.
    """
    for start in range(first, rows, WORKERS):
        yield from reversed(range(start, min(start + WORKERS, rows)))


def nth_row(position: int, rows: int) -> int:
    """
    Return the row at a position of the completion order of a job that begins with its first row.

    :param position: counted from 0.
    :param rows: how many rows there are.
    """
    start = position - position % WORKERS
    return start + min(start + WORKERS, rows) - 1 - position


class JobStatus(StrEnum):
    """The states that LeadMagic documents. The ``running`` in some of its responses is ``PROCESSING``."""

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
    """How a row ended. A miss is a free success, as single lookups respond to it with 200."""

    SUCCESS = "success"
    FAILED = "failed"


class DoneRow(NamedTuple):
    """A completed row. Its result is not kept: it is looked up again when it is read."""

    row_index: int
    completed_at: float
    credits: Decimal = NOTHING
    error: str | None = None
    http_status: int = 200

    @property
    def status(self) -> RowStatus:
        """How it ended."""
        return RowStatus.SUCCESS if self.error is None else RowStatus.FAILED


@dataclass
class Job:
    """
    A job. It has no clock: the caller passes the time, in seconds since 1970.

    :param submission: what was submitted.
    :param created_at: when it was submitted.
    :param skipped: how many rows are never processed.
    :param failed: how many rows have failed.
    :param charges: how often each row was charged.
    """

    submission: Submission
    created_at: float
    skipped: int = 0
    failed: int = 0
    job_id: str = field(default_factory=lambda: str(uuid4()))
    # Looks like a token of LeadMagic; gives access to this job only.
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
        Create a job of which no row is processed yet.

        :param first_row: the first row to process; those before it are skipped.
        """
        pending = deque(completion_order(first_row, len(submission.rows)))
        return cls(submission, created_at, skipped=first_row, _pending=pending)

    @property
    def token_expires_at(self) -> int:
        """When its token expires, in seconds since 1970."""
        return int(self.created_at) + TOKEN_SECONDS

    @property
    def is_active(self) -> bool:
        """Whether it continues by itself."""
        return self.status in ACTIVE

    def done(self, status: str | None = None) -> Sequence[DoneRow]:
        """
        List the completed rows in the order of their completion. Rows keep their places as others are added.

        :param status: only the rows that ended so.
        """
        return self._done if status is None else [row for row in self._done if row.status == status]

    def result_of(self, row: DoneRow) -> dict[str, object] | None:
        """Return what was found for a completed row; ``None`` if it failed."""
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
        """Wait for the jobs before it."""
        self.status = JobStatus.QUEUED

    def process_row(self, account: Account, at: float) -> bool:
        """
        Process the next row, or pause if the credits do not cover it.

        :param account: the account whose credits are spent.
        :param at: when the row is completed.
        :return: whether it was completed.
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
        """Pause until it is resumed."""
        self._refuse_if_ended("pause")
        self.status = JobStatus.PAUSED

    def resume(self) -> None:
        """Continue if it is paused; an active job stays as it is."""
        self._refuse_if_ended("resume")
        if not self.is_active:
            self.status = JobStatus.QUEUED

    def cancel(self, at: float) -> None:
        """End it. Whether LeadMagic cancels a paused job is unknown, but nothing else would end one."""
        self._refuse_if_ended("cancel")
        self._end(JobStatus.CANCELED, at)

    def fail(self, at: float) -> None:
        """End it as LeadMagic does after an error of its own."""
        self._refuse_if_ended("fail")
        self._end(JobStatus.FAILED, at)

    def retry_failed(self) -> bool:
        """
        Process the failed rows again.

        :return: whether there are any.
        """
        self.refuse_unless_ended("restart")
        failed = [row.row_index for row in self.done(RowStatus.FAILED)]
        if failed:
            # A new list: a download may still be reading the old one.
            self._done = [*self.done(RowStatus.SUCCESS)]
            self._pending.extend(failed)
            self.failed = 0
            self.status, self.completed_at = JobStatus.QUEUED, None
        return bool(failed)

    def refuse_unless_ended(self, action: str) -> None:
        """
        Check that the job has ended.

        :raises WrongStateError: if it has not.
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

    def _refuse_if_ended(self, action: str) -> None:
        if self.status in ENDED:
            raise WrongStateError(action, self.status)
