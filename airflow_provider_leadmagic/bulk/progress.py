"""What a look at a bulk job means: the same verdict and the same words in the triggerer and on a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.jobs import BulkJob
from airflow_provider_leadmagic.decisions.events import error_event, error_from_event
from airflow_provider_leadmagic.decisions.gate import requested_wait
from airflow_provider_leadmagic.exceptions import LeadMagicError, LeadMagicNotFoundError, LeadMagicTimeoutError

if TYPE_CHECKING:
    from airflow_provider_leadmagic.client import LeadMagicClient
    from airflow_provider_leadmagic.compat.imports import Log


#: How many looks in a row may find no job before there is none.
POLLS_FOR_A_NEW_JOB = 3


class JobProgress:
    """
    Looks at a job, tells people how far it is, and notices when there is something to do about it.

    :param log: Logger of the task or its trigger.
    :param job_id: The job.
    :param report_pause: Whether a pause is something to do about; if not, it is waited out.
    :param requested_wait: Seconds to wait at least before the first look, because LeadMagic said so.
    """

    def __init__(self, log: Log, job_id: str, *, report_pause: bool = True, requested_wait: float = 0.0) -> None:
        self._log = log
        self._job_id = job_id
        self._report_pause = report_pause
        self._failed_polls = 0
        #: Seconds to wait at least before the next look, because LeadMagic said so.
        self.requested_wait = requested_wait

    def look(self, client: LeadMagicClient) -> dict[str, Any] | None:
        """
        Look once.

        :param client: Whom to ask. One that repeats nothing: the next look is the retry.
        :return: An event if there is something to do, else None.
        """
        try:
            job = client.bulk.get(self._job_id)
        except LeadMagicError as error:
            return self.note_failure(error)
        self._failed_polls, self.requested_wait = 0, 0.0
        self._tell(job)
        if job.is_finished or (job.is_paused and self._report_pause):
            return {"status": "seen", "job": job.to_json()}
        return None

    def note_failure(self, error: LeadMagicError) -> dict[str, Any] | None:
        """
        Take note of a look that brought nothing.

        :param error: Why.
        :return: An event if looking again is pointless, else None.
        """
        self._failed_polls += 1
        if not error.transient and not self._may_be_too_new(error):
            return error_event(error)
        self.requested_wait = requested_wait(error)
        self._log.warning(
            "Job %s could not be looked at, failed look %d in a row. %s", self._job_id, self._failed_polls, error
        )
        return None

    def _may_be_too_new(self, error: LeadMagicError) -> bool:
        # A job that was ordered a moment ago may not have reached the part of LeadMagic that is asked about it.
        return isinstance(error, LeadMagicNotFoundError) and self._failed_polls <= POLLS_FOR_A_NEW_JOB

    def _tell(self, job: BulkJob) -> None:
        if job.is_paused and not self._report_pause:
            self._log.warning("Job %s is paused, and waits to be resumed at LeadMagic: %s.", job.job_id, job.progress())
        elif not job.is_finished and 0 < job.total_rows <= job.processed:
            self._log.warning("Job %s is %s although all rows are done: %s.", job.job_id, job.status, job.progress())
        else:
            self._log.info("Job %s is %s: %s.", job.job_id, job.status, job.progress())


def job_from(event: Any) -> BulkJob:
    """
    Read an event on the worker, which may run another version of this package than the triggerer.

    :param event: What :meth:`JobProgress.look` returned.
    :raises LeadMagicError: The error that was met; or that the event is none of ours.
    """
    try:
        if event["status"] == "seen":
            return BulkJob.from_json(event["job"])
    except (KeyError, TypeError, ValueError, ArithmeticError):
        pass
    raise error_from_event(event)


def timed_out() -> LeadMagicTimeoutError:
    """Build the error for a task that waited as long as it may."""
    return LeadMagicTimeoutError(
        "The timeout of this try is over. If a job was ordered, it goes on at LeadMagic, and the next try joins it."
    )
