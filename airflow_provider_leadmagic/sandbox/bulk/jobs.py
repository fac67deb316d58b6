"""One job: its states, its rows, and what was charged for each of them."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Self
from uuid import uuid4

from airflow_provider_leadmagic.sandbox.account import InsufficientCreditsError
from airflow_provider_leadmagic.sandbox.bulk.order import completion_order
from airflow_provider_leadmagic.sandbox.errors import WrongStateError
from airflow_provider_leadmagic.sandbox.products import RowFailedError, look_up_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_leadmagic.sandbox.account import Account
    from airflow_provider_leadmagic.sandbox.bulk.submission import Submission

NOTHING = Decimal(0)
# In LeadMagic's samples a token ends two days after its job began, but for the year.
TOKEN_SECONDS = 2 * 86_400


class JobStatus(StrEnum):
    """The states that LeadMagic's documents name; ``running``, which only answers have, is ``PROCESSING``."""

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
    """How a row ended; a miss is a success that cost nothing, as it is a 200 of the single lookups."""

    SUCCESS = "success"
    FAILED = "failed"


class DoneRow(NamedTuple):
    """A row that is done; what was found is looked up again when somebody reads it."""

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
    A job. It has no clock: whoever drives it says what the time is.

    :param submission: what was ordered.
    :param created_at: when, in seconds since 1970.
    :param skipped: how many rows are never done.
    :param failed: how many rows have failed.
    :param charges: how often each row was charged.
    """

    submission: Submission
    created_at: float
    skipped: int = 0
    failed: int = 0
    job_id: str = field(default_factory=lambda: str(uuid4()))
    # Looks like one of LeadMagic's, opens nothing but this job here.
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
        Make a job that has everything to do.

        :param first_row: the first row to do; those before it are skipped.
        """
        pending = deque(completion_order(first_row, len(submission.rows)))
        return cls(submission, created_at, skipped=first_row, _pending=pending)

    @property
    def token_expires_at(self) -> int:
        """When its token ends, in seconds since 1970."""
        return int(self.created_at) + TOKEN_SECONDS

    @property
    def is_active(self) -> bool:
        """Whether it goes on by itself."""
        return self.status in ACTIVE

    def done(self, status: str | None = None) -> Sequence[DoneRow]:
        """
        List what is done, in the order in which it was; what is in the list stays where it is.

        :param status: leave only the rows that ended so.
        """
        return self._done if status is None else [row for row in self._done if row.status == status]

    def found(self, row: DoneRow) -> dict[str, object] | None:
        """Tell what was found for a row that is done."""
        if row.status is RowStatus.FAILED:
            return None
        product = self.submission.product
        return product.look_up(product.check(self.submission.rows[row.row_index])).result

    def begin(self, at: float) -> None:
        """Take its turn."""
        self.status = JobStatus.PROCESSING
        if self.started_at is None:
            self.started_at = at

    def wait(self) -> None:
        """Wait for its turn."""
        self.status = JobStatus.QUEUED

    def do_row(self, account: Account, at: float) -> bool:
        """
        Do the next row, or pause for want of credits.

        :param account: whose credits are spent.
        :param at: when the row is done.
        :return: whether it was done.
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
        """Stop until it is resumed."""
        self._refuse_if_ended("pause")
        self.status = JobStatus.PAUSED

    def resume(self) -> None:
        """Go on; a job that is going on is left alone."""
        self._refuse_if_ended("resume")
        if not self.is_active:
            self.status = JobStatus.QUEUED

    def cancel(self, at: float) -> None:
        """End it; whether LeadMagic cancels a paused job is unknown, but nothing else would end one."""
        self._refuse_if_ended("cancel")
        self._end(JobStatus.CANCELED, at)

    def fail(self, at: float) -> None:
        """End it as LeadMagic does when something breaks on its side."""
        self._refuse_if_ended("fail")
        self._end(JobStatus.FAILED, at)

    def retry_failed(self) -> bool:
        """
        Do the failed rows again.

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
        Let only a job pass that has ended for good.

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
