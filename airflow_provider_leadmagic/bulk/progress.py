"""Poll a bulk job and decide what happens next, in the same way on the worker and in the triggerer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.jobs import BulkJob
from airflow_provider_leadmagic.decisions.events import error_event, error_from_event
from airflow_provider_leadmagic.decisions.gate import describe_retry, requested_wait
from airflow_provider_leadmagic.exceptions import LeadMagicError, LeadMagicNotFoundError, LeadMagicTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_leadmagic.client import LeadMagicClient
    from airflow_provider_leadmagic.compat.imports import Log


#: When this many polls have failed in a row, a further one with a 404 means that the job is missing. Until then, the
#: job may be so new that LeadMagic does not return it yet.
POLLS_FOR_A_NEW_JOB = 3


class JobProgress:
    """
    Polls a job, logs its progress, and reports when there is something for the task to do.

    :param log: Logger of the task or its trigger.
    :param job_id: The job.
    :param next_poll_in: Returns the seconds until the next poll, given the seconds that LeadMagic requested.
    :param report_pause: Whether a pause of the job is reported to the task; otherwise polling continues.
    :param requested_wait: Minimum seconds until the first poll, if LeadMagic sent a ``Retry-After``.
    """

    def __init__(
        self,
        log: Log,
        job_id: str,
        next_poll_in: Callable[[float], float],
        *,
        report_pause: bool = True,
        requested_wait: float = 0.0,
    ) -> None:
        self._log = log
        self._job_id = job_id
        self._next_poll_in = next_poll_in
        self._report_pause = report_pause
        self._failed_polls = 0
        #: Minimum seconds until the next poll, if LeadMagic sent a ``Retry-After``.
        self.requested_wait = requested_wait

    def poll(self, client: LeadMagicClient) -> dict[str, Any] | None:
        """
        Request the job's state once.

        :param client: A client with ``max_attempts=1``: the next poll is the retry.
        :return: An event if polling is over: the job has ended, or has paused and pauses are reported, or the
            error is permanent. Else None.
        """
        try:
            job = client.bulk.get(self._job_id)
        except LeadMagicError as error:
            return self.handle_failure(error)
        self._failed_polls, self.requested_wait = 0, 0.0
        self._log_progress(job)
        if job.is_finished or (job.is_paused and self._report_pause):
            return {"status": "seen", "job": job.to_json()}
        return None

    def handle_failure(self, error: LeadMagicError) -> dict[str, Any] | None:
        """
        Count and log a failed poll.

        :return: None if the error is transient, or if it is a 404 and the job may be new; else an event.
        """
        self._failed_polls += 1
        if not error.transient and not self._may_be_too_new(error):
            return error_event(error)
        self.requested_wait = requested_wait(error)
        retry = describe_retry(self._next_poll_in(self.requested_wait))
        self._log.warning(
            "Bulk job %s: poll failed (%d in a row)%s: %s", self._job_id, self._failed_polls, retry, error
        )
        return None

    def _may_be_too_new(self, error: LeadMagicError) -> bool:
        # LeadMagic may not yet return a job that was submitted a moment ago.
        return isinstance(error, LeadMagicNotFoundError) and self._failed_polls <= POLLS_FOR_A_NEW_JOB

    def _log_progress(self, job: BulkJob) -> None:
        if job.is_paused and not self._report_pause:
            self._log.warning("Bulk job %s is paused: resume it at LeadMagic (%s).", job.job_id, job.progress())
        elif not job.is_finished and 0 < (job.total_rows or 0) <= (job.processed or 0):
            problem = f"has status {job.status!r} although all rows are processed"
            self._log.warning("Bulk job %s %s: %s.", job.job_id, problem, job.progress())
        else:
            log_progress(self._log, job)


def log_progress(log: Log, job: BulkJob) -> None:
    """Log status and progress of a job; the status is omitted while LeadMagic processes the job."""
    status = "" if job.status.lower() == "processing" else f" is {job.status}"
    log.info("Bulk job %s%s: %s.", job.job_id, status, job.progress())


def job_from(event: Any) -> BulkJob:
    """
    Read an event on the worker, whose version of this package may differ from the triggerer's.

    :param event: The return value of :meth:`JobProgress.poll`.
    :raises LeadMagicError: The error in the event, or one that reports an unexpected event.
    """
    try:
        if event["status"] == "seen":
            return BulkJob.from_json(event["job"])
    except (KeyError, TypeError, ValueError, ArithmeticError):
        pass
    raise error_from_event(event)


def timed_out() -> LeadMagicTimeoutError:
    """Build the error for an attempt that reached its timeout."""
    return LeadMagicTimeoutError(
        "Timeout reached: increase timeout or set retries. "
        "A submitted bulk job keeps running, and the next attempt joins it."
    )
