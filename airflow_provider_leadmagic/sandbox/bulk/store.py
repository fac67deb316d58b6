"""All jobs of an account, and the time that passes for them."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_leadmagic.sandbox.bulk.jobs import Job
from airflow_provider_leadmagic.sandbox.bulk.settings import BulkSettings
from airflow_provider_leadmagic.sandbox.errors import ApiError, UnknownJobError, insufficient_credits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_leadmagic.sandbox.account import Account
    from airflow_provider_leadmagic.sandbox.bulk.submission import Submission

# A thousandth of a row: what floating point loses must not hold one back.
ROUNDING = 1e-3


class BulkJobs:
    """
    Jobs, done one after another in the order they came.

    No thread works on them: what is due is done when somebody looks, at a job or at the balance, and before anything
    changes either of the two. Nobody can tell the difference.

    :param account: whose credits they spend.
    :param clock: tells the seconds since 1970; that of this machine by default.
    """

    def __init__(self, account: Account, clock: Callable[[], float] | None = None) -> None:
        # Looked up at each call, for tests that set the time.
        self.clock = clock or (lambda: time.time())
        self._account = account
        self._lock = threading.RLock()
        self.clear()

    def clear(self) -> None:
        """Forget all jobs, and run as at the beginning."""
        with self._lock:
            self.settings = BulkSettings()
            self._jobs: dict[str, Job] = {}
            self._by_key: dict[str, Job] = {}
            self._submits: Counter[str] = Counter()
            self._caught_up_at = self.clock()
            self._begun_row = 0.0

    def change(self, settings: BulkSettings) -> None:
        """Run otherwise from now on."""
        with self._lock:
            self.catch_up()
            self.settings = settings

    def catch_up(self) -> None:
        """Do the rows that are due."""
        with self._lock:
            then, now = self._caught_up_at, self.clock()
            self._caught_up_at = now
            if not self.settings.paused_clock:
                self._work_for(then, now - then)

    def advance(self, rows: int) -> int:
        """
        Do so many rows at once, whatever the clock says.

        :param rows: 0 only begins a job.
        :return: how many there were to do.
        """
        with self._lock:
            self.catch_up()
            now = self._caught_up_at
            return self._work(rows, lambda _: now)

    def submit(self, submission: Submission) -> Job:
        """
        Take an order, or find the job that was made of the same one before.

        :raises ApiError: if the credits do not cover it.
        """
        with self._lock:
            self.catch_up()
            key = submission.idempotency_key
            if key is None:
                return self._take(submission)
            self._submits[key] += 1
            if key not in self._by_key:
                self._by_key[key] = self._take(submission)
            return self._by_key[key]

    def restart(self, job_id: str, first_row: int) -> Job:
        """
        Order the rows of an ended job again, from one row on: as a new job, so that no job charges a row twice.

        :raises ApiError: if the job has not ended, or the credits do not cover it.
        """
        with self.opened(job_id) as job:
            job.refuse_unless_ended("restart")
            # The key stays with the job that was submitted under it.
            return self._take(replace(job.submission, idempotency_key=None), first_row)

    def add(self, job: Job) -> None:
        """Take in a job as it is."""
        with self._lock:
            self._jobs[job.job_id] = job

    @contextmanager
    def opened(self, job_id: str) -> Iterator[Job]:
        """
        Hold a job still, to read or change it.

        :raises UnknownJobError: if there is none of this id.
        """
        with self._lock:
            self.catch_up()
            if job_id not in self._jobs:
                raise UnknownJobError
            yield self._jobs[job_id]

    @contextmanager
    def all_opened(self) -> Iterator[list[Job]]:
        """Hold all jobs still, oldest first."""
        with self._lock:
            self.catch_up()
            yield list(self._jobs.values())

    def position(self, job: Job) -> int:
        """Count the active jobs up to this one, 0 for one that is not active."""
        with self._lock:
            active = [other.job_id for other in self._jobs.values() if other.is_active]
            return active.index(job.job_id) + 1 if job.job_id in active else 0

    @property
    def submits(self) -> Counter[str]:
        """How often something was submitted under each idempotency key."""
        with self._lock:
            return Counter(self._submits)

    def token_opens(self, token: str, job_id: str) -> bool:
        """Tell whether a token is that of a job, and not too old."""
        job = self._jobs.get(job_id)
        return job is not None and job.token == token and self.clock() < job.token_expires_at

    def _take(self, submission: Submission, first_row: int = 0) -> Job:
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
        # Time in which nothing was left to do is lost.
        self._begun_row = max(0.0, due - done) if any(job.is_active for job in self._jobs.values()) else 0.0

    def _work(self, rows: float, moment: Callable[[int], float]) -> int:
        done = 0
        jobs = iter([job for job in self._jobs.values() if job.is_active])
        for job in jobs:
            job.begin(moment(done))
            while job.is_active and done < rows:
                done += job.do_row(self._account, moment(done + 1))
            if job.is_active:
                break
        for job in jobs:
            job.wait()
        return done
