"""All bulk jobs of an account: settings, processing over time, and what the controls under ``/_sandbox`` do."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from airflow_provider_leadmagic.sandbox.bulk.jobs import Job
from airflow_provider_leadmagic.sandbox.bulk.made_up import MadeUpJob
from airflow_provider_leadmagic.sandbox.bulk.responses import BulkJob
from airflow_provider_leadmagic.sandbox.errors import ApiError, UnknownJobError, insufficient_credits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_leadmagic.sandbox.account import Account
    from airflow_provider_leadmagic.sandbox.bulk.submit_request import Submission

# Tolerance in rows, so that a floating-point error does not delay a row.
ROUNDING = 1e-3

SubmitNeeds = Literal["one_row", "all_rows"]
RowsPerSecond = Annotated[float, Field(gt=0, allow_inf_nan=False)] | None


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class BulkSettings:
    """
    The speed of the jobs and the credits that a submit requires.

    :param rows_per_second: Rows per second of all jobs together, above 0; ``None`` completes jobs instantly.
    :param paused_clock: If true, rows are processed only by :meth:`BulkJobs.advance`.
    :param submit_needs: The credits that a submit requires: the price of one hit (``one_row``), or of a hit in every
        row (``all_rows``). The default is ``one_row``, because LeadMagic pauses a job when the credits run out, so it
        must accept jobs that the credits do not cover.
    """

    rows_per_second: RowsPerSecond = None
    paused_clock: bool = False
    submit_needs: SubmitNeeds = "one_row"


class BulkJobs:
    """
    The jobs of an account, processed one after another in the order of submission. Thread-safe.

    There is no background thread: before a job or the balance is read or changed, the rows that are due by then are
    processed. Clients cannot see the difference.

    :param account: The account to charge.
    :param clock: Returns the time in seconds since the Unix epoch; ``time.time`` by default.
    """

    def __init__(self, account: Account, clock: Callable[[], float] | None = None) -> None:
        # Looks up time.time on each call, so that tests can monkeypatch it.
        self.clock = clock or (lambda: time.time())
        self._account = account
        self._lock = threading.RLock()
        self.clear()

    def clear(self) -> None:
        """Remove all jobs and restore the default settings."""
        with self._lock:
            self.settings = BulkSettings()
            self._jobs: dict[str, Job] = {}
            self._by_key: dict[str, Job] = {}
            self._submits: Counter[str] = Counter()
            self._caught_up_at = self.clock()
            self._partial_row = 0.0  # fraction of the next row that is already processed

    def submit(self, submission: Submission) -> Job:
        """
        Create a job, or return the existing job with the same idempotency key.

        :raises ApiError: If the spendable credits do not cover what a submit requires, see :class:`BulkSettings`.
        """
        with self._lock:
            self.catch_up()
            key = submission.idempotency_key
            if key is None:
                return self._create(submission)
            self._submits[key] += 1
            if key not in self._by_key:
                self._by_key[key] = self._create(submission)
            return self._by_key[key]

    def restart(self, job_id: str, first_row: int) -> Job:
        """
        Process the rows of an ended job again, in a new job, which charges for each hit again.

        :param job_id: ID of the ended job.
        :param first_row: Index of the first row to process; the rows before it are skipped.
        :raises ApiError: If no job has this ID, the job has not ended, or the credits do not cover a submit.
        """
        with self.locked_job(job_id) as job:
            job.check_ended("restart")
            # The idempotency key stays with the original job.
            return self._create(replace(job.submission, idempotency_key=None), first_row)

    @contextmanager
    def locked_job(self, job_id: str) -> Iterator[Job]:
        """
        Process the rows that are due, then yield a job under the lock, to be read or changed.

        :raises UnknownJobError: If no job has this ID.
        """
        with self._lock:
            self.catch_up()
            if job_id not in self._jobs:
                raise UnknownJobError
            yield self._jobs[job_id]

    @contextmanager
    def locked_jobs(self) -> Iterator[list[Job]]:
        """Process the rows that are due, then yield all jobs under the lock, oldest first."""
        with self._lock:
            self.catch_up()
            yield list(self._jobs.values())

    def position(self, job: Job) -> int:
        """Return the position of a job among the active jobs, counted from 1; 0 if it is not active."""
        with self._lock:
            active = [other.job_id for other in self._jobs.values() if other.is_active]
            return active.index(job.job_id) + 1 if job.job_id in active else 0

    def accepts_token(self, token: str, job_id: str) -> bool:
        """Return whether a token, from a link in a response, belongs to a job and has not expired."""
        job = self._jobs.get(job_id)
        return job is not None and job.token == token and self.clock() < job.token_expires_at

    def change(self, **settings: Any) -> None:
        """
        Apply new settings. The rows that are due by now are processed under the old settings.

        :param settings: Fields of :class:`BulkSettings`; other settings keep their values.
        :raises ValueError: If a setting is invalid.
        """
        with self._lock:
            changed = replace(self.settings, **settings)
            self.catch_up()
            self.settings = changed

    def advance(self, rows: int) -> int:
        """
        Process a number of rows immediately, regardless of the clock.

        :param rows: Maximum number of rows; 0 starts the next job without processing a row.
        :return: The number of rows processed; fewer if no more rows are pending or the credits run out.
        """
        with self._lock:
            self.catch_up()
            now = self._caught_up_at
            return self._work(rows, lambda _: now)

    def copies(self) -> list[BulkJob]:
        """Return copies of all jobs, oldest first."""
        with self.locked_jobs() as jobs:
            return [BulkJob.of(job) for job in jobs]

    def charges(self, job_id: str) -> Counter[int]:
        """
        Return the number of charges per row index of a job; rows without a charge are missing.

        :raises UnknownJobError: If no job has this ID.
        """
        with self.locked_job(job_id) as job:
            return Counter(job.charges)

    @property
    def submits(self) -> Counter[str]:
        """The number of submits per idempotency key, including those rejected for too few credits."""
        with self._lock:
            return Counter(self._submits)

    def make_up(self, rows: int) -> str:
        """
        Add a completed job without charging its rows.

        :param rows: Number of rows, at least 1.
        :return: The job's ID.
        :raises ValueError: If ``rows`` is below 1.
        """
        job = MadeUpJob.of_size(rows, self.clock())
        with self._lock:
            self._jobs[job.job_id] = job
        return job.job_id

    def fail(self, job_id: str) -> BulkJob:
        """
        End a job as failed, as LeadMagic does after an internal error.

        :return: A copy of the job.
        :raises ApiError: If no job has this ID or the job has ended.
        """
        with self.locked_job(job_id) as job:
            job.fail(self.clock())
            return BulkJob.of(job)

    def catch_up(self) -> None:
        """Process the rows that are due by now."""
        with self._lock:
            then, now = self._caught_up_at, self.clock()
            self._caught_up_at = now
            if not self.settings.paused_clock:
                self._work_for(then, now - then)

    def _create(self, submission: Submission, first_row: int = 0) -> Job:
        rows = 1 if self.settings.submit_needs == "one_row" else len(submission.rows) - first_row
        needed = submission.product.price * rows
        if self._account.spendable < needed:
            raise ApiError(insufficient_credits(needed, self._account.spendable))
        job = Job.of(submission, self.clock(), first_row)
        self._jobs[job.job_id] = job
        return job

    def _work_for(self, then: float, seconds: float) -> None:
        speed = self.settings.rows_per_second
        if speed is None:
            self._work(math.inf, lambda _: then + seconds)
            return
        partial = self._partial_row
        due = partial + seconds * speed
        done = self._work(math.floor(due + ROUNDING), lambda rows: then + max(0.0, rows - partial) / speed)
        # Idle time is not carried over to later jobs.
        self._partial_row = max(0.0, due - done) if any(job.is_active for job in self._jobs.values()) else 0.0

    def _work(self, rows: float, moment: Callable[[int], float]) -> int:
        done = 0
        jobs = iter([job for job in self._jobs.values() if job.is_active])
        for job in jobs:
            job.begin(moment(done))
            while job.is_active and done < rows:
                done += job.process_row(self._account, moment(done + 1))
            if job.is_active:
                break
        for job in jobs:
            job.wait()
        return done
