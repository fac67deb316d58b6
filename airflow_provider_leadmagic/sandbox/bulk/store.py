"""All bulk jobs of an account: their settings, the time that passes for them, and what tests do to them."""

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
    from airflow_provider_leadmagic.sandbox.bulk.submission import Submission

# In rows: what floating-point arithmetic loses must not delay a row.
ROUNDING = 1e-3

SubmitNeeds = Literal["one_row", "all_rows"]
RowsPerSecond = Annotated[float, Field(gt=0, allow_inf_nan=False)] | None


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class BulkSettings:
    """
    How fast jobs are, and when one is refused.

    :param rows_per_second: of all jobs together; ``None`` completes jobs instantly.
    :param paused_clock: whether jobs continue only through :meth:`BulkJobs.advance`.
    :param submit_needs: which credits a submit needs: the price of one hit, or of a hit in every row.
        LeadMagic pauses a job when the credits run out, so it accepts jobs that they do not cover: hence the default.
    """

    rows_per_second: RowsPerSecond = None
    paused_clock: bool = False
    submit_needs: SubmitNeeds = "one_row"


class BulkJobs:
    """
    Jobs, processed one after another in the order of their submission.

    No thread works on them. The rows that are due are processed when a job or the balance is read, and before either
    of them is changed. Clients cannot see the difference.

    :param account: the account whose credits they spend.
    :param clock: returns the seconds since 1970; the clock of this machine by default.
    """

    def __init__(self, account: Account, clock: Callable[[], float] | None = None) -> None:
        # time.time is read at each call, for tests that replace it.
        self.clock = clock or (lambda: time.time())
        self._account = account
        self._lock = threading.RLock()
        self.clear()

    def clear(self) -> None:
        """Remove all jobs and return to the default settings."""
        with self._lock:
            self.settings = BulkSettings()
            self._jobs: dict[str, Job] = {}
            self._by_key: dict[str, Job] = {}
            self._submits: Counter[str] = Counter()
            self._caught_up_at = self.clock()
            self._begun_row = 0.0

    def submit(self, submission: Submission) -> Job:
        """
        Create a job, or return the one that exists under the idempotency key.

        :raises ApiError: if the credits do not cover it.
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
        Process the rows of an ended job again, from one row on, as a new job: no job charges a row twice.

        :raises ApiError: if the job has not ended, or the credits do not cover it.
        """
        with self.locked_job(job_id) as job:
            job.refuse_unless_ended("restart")
            # The key stays with the job that was submitted under it.
            return self._create(replace(job.submission, idempotency_key=None), first_row)

    @contextmanager
    def locked_job(self, job_id: str) -> Iterator[Job]:
        """
        Bring a job up to date, and lock it while it is read or changed.

        :raises UnknownJobError: if no job has this id.
        """
        with self._lock:
            self.catch_up()
            if job_id not in self._jobs:
                raise UnknownJobError
            yield self._jobs[job_id]

    @contextmanager
    def locked_jobs(self) -> Iterator[list[Job]]:
        """Bring all jobs up to date, and lock them while they are read or changed. Oldest first."""
        with self._lock:
            self.catch_up()
            yield list(self._jobs.values())

    def position(self, job: Job) -> int:
        """Return the place of a job among the active jobs, counted from 1; 0 if it is not active."""
        with self._lock:
            active = [other.job_id for other in self._jobs.values() if other.is_active]
            return active.index(job.job_id) + 1 if job.job_id in active else 0

    def accepts_token(self, token: str, job_id: str) -> bool:
        """Return whether a token is that of a job, and has not expired."""
        job = self._jobs.get(job_id)
        return job is not None and job.token == token and self.clock() < job.token_expires_at

    def change(self, **settings: Any) -> None:
        """
        Change some settings; the rows that are due by now are processed under the old ones.

        :param settings: fields of :class:`BulkSettings`.
        :raises ValueError: if one is not valid.
        """
        with self._lock:
            changed = replace(self.settings, **settings)
            self.catch_up()
            self.settings = changed

    def advance(self, rows: int) -> int:
        """
        Process a number of rows at once, whatever the clock says.

        :param rows: how many; 0 only starts the next job.
        :return: how many there were to process.
        """
        with self._lock:
            self.catch_up()
            now = self._caught_up_at
            return self._work(rows, lambda _: now)

    def copies(self) -> list[BulkJob]:
        """Copy what all jobs are now, oldest first."""
        with self.locked_jobs() as jobs:
            return [BulkJob.of(job) for job in jobs]

    def charges(self, job_id: str) -> Counter[int]:
        """
        Count how often each row of a job was charged; rows that were not are left out.

        :raises UnknownJobError: if no job has this id.
        """
        with self.locked_job(job_id) as job:
            return Counter(job.charges)

    @property
    def submits(self) -> Counter[str]:
        """How often each idempotency key was submitted, refused submits included."""
        with self._lock:
            return Counter(self._submits)

    def make_up(self, rows: int) -> str:
        """
        Add a completed job that costs nothing.

        :param rows: how many rows it has.
        :return: its id.
        :raises ValueError: if it has no rows.
        """
        job = MadeUpJob.of_size(rows, self.clock())
        with self._lock:
            self._jobs[job.job_id] = job
        return job.job_id

    def fail(self, job_id: str) -> BulkJob:
        """
        End a job as LeadMagic does after an error of its own.

        :return: a copy of the job.
        :raises ApiError: if no job has this id, or it has ended.
        """
        with self.locked_job(job_id) as job:
            job.fail(self.clock())
            return BulkJob.of(job)

    def catch_up(self) -> None:
        """Process the rows that are due."""
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
        begun = self._begun_row
        due = begun + seconds * speed
        done = self._work(math.floor(due + ROUNDING), lambda rows: then + max(0.0, rows - begun) / speed)
        # Time in which there was nothing to process is lost.
        self._begun_row = max(0.0, due - done) if any(job.is_active for job in self._jobs.values()) else 0.0

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
