"""Wait on the worker or in the triggerer. The outcome is the same; waiting in the triggerer frees the worker slot."""

from __future__ import annotations

import math
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

from airflow_provider_leadmagic.bulk.progress import JobProgress, job_from, timed_out
from airflow_provider_leadmagic.decisions.gate import is_sufficient, requested_wait, tolerate_failed_poll
from airflow_provider_leadmagic.exceptions import LeadMagicConnectionError, LeadMagicError
from airflow_provider_leadmagic.triggers.bulk import BulkJobTrigger, PausedBulkJobTrigger
from airflow_provider_leadmagic.triggers.claims import ClaimedCreditsTrigger
from airflow_provider_leadmagic.triggers.credits import SufficientCreditsTrigger
from airflow_provider_leadmagic.triggers.shared_poll import open_client

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from decimal import Decimal

    from airflow.triggers.base import BaseTrigger

    from airflow_provider_leadmagic.api.jobs import BulkJob
    from airflow_provider_leadmagic.bulk.previous_attempts import SubmittedJob
    from airflow_provider_leadmagic.compat.imports import Log


class Wait(Protocol):
    """Waits for credits or for a job. A method returns when the wait is over, or defers the task and never returns."""

    def to_submit(self, minimum_credits: Decimal, known_jobs: Collection[str]) -> None:
        """
        Wait until the credits for the submission are spendable; with a claim, until they can probably be claimed.

        :param minimum_credits: Credits that must be spendable.
        :param known_jobs: IDs of the task's jobs at LeadMagic from before the wait.
        :raises LeadMagicTimeoutError: If the deadline is reached first.
        """

    def to_resume(self, minimum_credits: Decimal, submitted_job: SubmittedJob) -> None:
        """
        Wait for the credits that the remaining rows of a paused job need.

        :param minimum_credits: Credits that must be spendable.
        :param submitted_job: The paused job.
        :raises LeadMagicTimeoutError: If the deadline is reached first.
        """

    def for_job(self, submitted_job: SubmittedJob, *, report_pause: bool, requested_wait: float) -> BulkJob:
        """
        Wait until a job has finished or paused.

        :param submitted_job: The job.
        :param report_pause: Whether a pause ends the wait.
        :param requested_wait: Seconds that LeadMagic requested by ``Retry-After`` before the first poll; 0 for none.
        :raises LeadMagicTimeoutError: If the deadline is reached first.
        """

    def next_poll_in(self, requested: float = 0.0) -> float:
        """
        Return the seconds until the next poll; ``math.inf`` if there is none.

        On the worker, the last poll is at the deadline. In the triggerer, there is no poll at the deadline or after it.

        :param requested: Seconds that LeadMagic requested by ``Retry-After``; 0 for none.
        """

    def time_left(self) -> float:
        """Return the seconds until the deadline, 0 after it."""


def poll_job(conn_id: str, progress: JobProgress) -> dict[str, Any] | None:
    """
    Poll a job once on the worker, without retries: the next poll is the retry.

    :param conn_id: The connection. If it cannot be read at the moment, the poll has failed.
    :param progress: The job.
    :return: See :meth:`~airflow_provider_leadmagic.bulk.progress.JobProgress.poll`.
    """
    try:
        client = open_client(conn_id, max_attempts=1)
    except LeadMagicConnectionError as error:
        return progress.handle_failure(error)
    with client:
        return progress.poll(client)


class WorkerWait:
    """
    Polls on the worker, and occupies its slot meanwhile.

    :param log: The task's logger.
    :param conn_id: The connection.
    :param interval: Seconds between polls.
    :param deadline: Unix time at which the attempt times out.
    """

    def __init__(self, log: Log, conn_id: str, interval: float, deadline: float) -> None:
        self._log = log
        self._conn_id = conn_id
        self._interval = interval
        self._deadline = deadline

    def to_submit(self, minimum_credits: Decimal, known_jobs: Collection[str] = ()) -> None:
        """Wait until the credits for the submission are spendable."""
        failures = 0
        failure: LeadMagicError | None = None
        while True:
            self._sleep(requested_wait(failure))
            try:
                with open_client(self._conn_id, max_attempts=1) as client:
                    balance = client.get_credits()
            except LeadMagicError as error:
                failures, failure = failures + 1, error
                tolerate_failed_poll(self._log, error, failures, self.next_poll_in(requested_wait(error)))
                continue
            failures, failure = 0, None
            if is_sufficient(self._log, balance, minimum_credits, self._conn_id, self.next_poll_in()):
                return

    def to_resume(self, minimum_credits: Decimal, submitted_job: SubmittedJob) -> None:
        """Wait for the credits that the remaining rows of a paused job need."""
        self.to_submit(minimum_credits)

    def for_job(self, submitted_job: SubmittedJob, *, report_pause: bool, requested_wait: float) -> BulkJob:
        """Wait until a job has finished or paused."""
        progress = JobProgress(
            self._log,
            submitted_job.job_id,
            self.next_poll_in,
            report_pause=report_pause,
            requested_wait=requested_wait,
        )
        while True:
            self._sleep(progress.requested_wait)
            event = poll_job(self._conn_id, progress)
            if event is not None:
                return job_from(event)

    def next_poll_in(self, requested: float = 0.0) -> float:
        """Return the seconds until the next poll, no later than the deadline; ``math.inf`` after the deadline."""
        left = self._deadline - time.time()
        return min(max(self._interval, requested), left) if left > 0 else math.inf

    def time_left(self) -> float:
        """Return the seconds until the deadline, 0 after it."""
        return max(self._deadline - time.time(), 0.0)

    def _sleep(self, requested: float) -> None:
        left = self._deadline - time.time()
        if left <= 0:
            raise timed_out()
        time.sleep(min(max(self._interval, requested), left))


class ResumeMethods(NamedTuple):
    """
    Names of the operator's methods that continue after a deferral.

    :param to_submit: Called when the balance covers the submission.
    :param to_resume: Called when the balance covers the remaining rows of a paused job.
    :param for_job: Called when the job has finished or paused.
    """

    to_submit: str
    to_resume: str
    for_job: str


class TriggererWait:
    """
    Defers the task; Airflow continues it in a new process.

    :param defer: The operator's ``defer``.
    :param conn_id: The connection.
    :param interval: Seconds between polls.
    :param deadline: Unix time at which the attempt times out.
    :param methods: Names of the methods that continue the task.
    :param claim: Arguments ``claim_pool`` and ``claimed_by`` of the trigger, if the task claims the credits.
    """

    def __init__(
        self,
        defer: Callable[..., None],
        conn_id: str,
        interval: float,
        deadline: float,
        methods: ResumeMethods,
        claim: Mapping[str, Any] | None = None,
    ) -> None:
        self._methods = methods
        self._claim = claim
        self._task_defer = defer
        self._conn_id = conn_id
        self._interval = interval
        self._deadline = deadline

    def to_submit(self, minimum_credits: Decimal, known_jobs: Collection[str]) -> NoReturn:
        """Defer until the credits are spendable; with a claim, until they can probably be claimed."""
        arguments = (self._conn_id, str(minimum_credits), self._interval)
        trigger: BaseTrigger = (
            SufficientCreditsTrigger(*arguments, waiting_since=time.time())
            if self._claim is None
            else ClaimedCreditsTrigger(*arguments, **self._claim, waiting_since=time.time())
        )
        self._defer(trigger, self._methods.to_submit, {"known_jobs": sorted(known_jobs)})

    def to_resume(self, minimum_credits: Decimal, submitted_job: SubmittedJob) -> NoReturn:
        """Wait for the credits that the remaining rows of a paused job need."""
        trigger = PausedBulkJobTrigger(
            self._conn_id,
            str(minimum_credits),
            self._interval,
            waiting_since=time.time(),
            job_id=submitted_job.job_id,
            deadline=self._deadline,
        )
        self._defer(trigger, self._methods.to_resume, {"record": submitted_job.to_json()})

    def for_job(self, submitted_job: SubmittedJob, *, report_pause: bool, requested_wait: float) -> NoReturn:
        """Wait until a job has finished or paused."""
        now = time.time()
        trigger = BulkJobTrigger(
            self._conn_id,
            submitted_job.job_id,
            self._interval,
            deadline=self._deadline,
            report_pause=report_pause,
            not_before=now + requested_wait if requested_wait else 0.0,
            waiting_since=now,
        )
        self._defer(trigger, self._methods.for_job, {"record": submitted_job.to_json()})

    def next_poll_in(self, requested: float = 0.0) -> float:
        """Return the seconds until the next poll; ``math.inf`` if the deadline comes first."""
        wait = max(self._interval, requested)
        return wait if wait < self._deadline - time.time() else math.inf

    def time_left(self) -> float:
        """Return the seconds until the deadline, 0 after it."""
        return max(self._deadline - time.time(), 0.0)

    def _defer(self, trigger: BaseTrigger, method_name: str, arguments: dict[str, Any]) -> NoReturn:
        left = self._deadline - time.time()
        if left <= 0:
            raise timed_out()
        kwargs = {"deadline": self._deadline, **arguments}
        self._task_defer(trigger=trigger, method_name=method_name, kwargs=kwargs, timeout=timedelta(seconds=left))
        raise AssertionError("Airflow's defer() always raises")
