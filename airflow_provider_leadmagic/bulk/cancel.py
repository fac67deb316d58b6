"""
Cancel the bulk job when a user ends its task; leave it running when only the process is stopped.

DAG files import this module together with the operator, so the HTTP client is imported only where it is used.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_leadmagic.exceptions import LeadMagicConfigurationError, LeadMagicError

if TYPE_CHECKING:
    from airflow_provider_leadmagic.client import LeadMagicClient
    from airflow_provider_leadmagic.compat.imports import Log

#: Seconds for which ``on_kill`` tries to cancel the job. Airflow 3 kills the process 5 s after the signal to stop.
ON_KILL_PATIENCE = 4.0
#: Timeout of each request within that time, and the pause after a failed one, in seconds.
REQUEST_TIMEOUT = 1.5
PAUSE = 0.3


class RunningTask(NamedTuple):
    """
    The running task whose job may have to be canceled.

    :param log: The task's logger.
    :param conn_id: The connection that the job was submitted with.
    :param task_instance: The task instance. Its state decides whether to cancel the job.
    """

    log: Log
    conn_id: str
    task_instance: Any


class JobCanceller:
    """Remembers the bulk job of a running task, so that ``on_kill`` can cancel it."""

    def __init__(self) -> None:
        self._task: RunningTask | None = None
        self._idempotency_key: str | None = None
        self._job_id: str | None = None
        self._give_up_at: float | None = None

    def remember_key(self, task: RunningTask, idempotency_key: str) -> None:
        """
        Remember an idempotency key of the task, so that :meth:`on_kill` can find a job whose ID is not known yet.

        :param task: The task that is about to submit, or to search for the job of a previous attempt.
        :param idempotency_key: The key.
        :raises LeadMagicError: If ``on_kill`` was already called: on Airflow 3 the task may run for 5 s after it.
        """
        if self._give_up_at is not None:
            raise LeadMagicError("Bulk job not submitted, because the task was stopped.")
        self._task, self._idempotency_key = task, idempotency_key

    def forget_key(self) -> None:
        """Forget the key: the task has no job at LeadMagic."""
        self._idempotency_key = None

    def remember_job(self, task: RunningTask, job_id: str) -> None:
        """
        Remember the job ID for :meth:`on_kill`.

        :param task: The task that waits for the job.
        :param job_id: The job.
        """
        self._task, self._job_id = task, job_id
        if self._give_up_at is not None:  # on_kill was called during the submission
            self.on_kill()

    def on_kill(self) -> None:
        """Cancel the job if a user ended the task. If only the worker is stopped, the next attempt joins the job."""
        self._give_up_at = self._give_up_at or time.monotonic() + ON_KILL_PATIENCE
        if self._task is None or not (self._job_id or self._idempotency_key):
            return
        canceling = Cancellation(self._task, self._job_id, self._idempotency_key, self._give_up_at)
        # This runs in a signal handler. The interrupted code may hold a lock that the request to Airflow needs, so send
        # the request from a thread.
        thread = threading.Thread(target=canceling.run, name="leadmagic-on-kill")
        thread.start()
        thread.join(timeout=max(self._give_up_at - time.monotonic(), PAUSE))
        if thread.is_alive():
            canceling.log_failure("no response in time")


class Cancellation:
    """
    Cancels a job if a user ended its task, retrying until a time limit, and logs how to cancel it if that fails.

    :param task: The task.
    :param job_id: The job; None if its ID has not been received.
    :param idempotency_key: A key of the task, to find the job; None if the ID is known.
    :param give_up_at: Time of the monotonic clock after which nothing is retried.
    """

    def __init__(self, task: RunningTask, job_id: str | None, idempotency_key: str | None, give_up_at: float) -> None:
        self._task = task
        self._job_id = job_id
        self._idempotency_key = idempotency_key
        self._give_up_at = give_up_at
        self._is_over: bool | None = None
        self._is_reported = False

    def run(self) -> None:
        """Cancel the job, and retry if that fails. A final failure is logged once."""
        while True:
            try:
                self._cancel_if_task_is_over()
            except Exception as error:
                if not may_retry(error) or time.monotonic() + PAUSE >= self._give_up_at:
                    self.log_failure(reason_of(error))
                    return
                time.sleep(PAUSE)
            else:
                return

    def log_failure(self, reason: str) -> None:
        """
        Log the command that cancels the job, once.

        :param reason: Why the job was not canceled.
        """
        if not self._is_reported:
            self._is_reported = True
            is_over = bool(self._is_over)
            self._task.log.error("%s", advice(self._task.conn_id, self._job_id, self._idempotency_key, reason, is_over))

    def _cancel_if_task_is_over(self) -> None:
        from airflow_provider_leadmagic.compat.task_state import OVER, state_of
        from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

        task = self._task
        # Read the task's state again before each search for the job: a user may have cleared the task meanwhile, and
        # the job of the new attempt must not be canceled.
        if self._is_over is None or self._job_id is None:
            self._is_over = state_of(task.task_instance) in OVER
        if not self._is_over:
            task.log.info("Worker is stopping; leaving any bulk job running. The next attempt joins or cancels it.")
            return
        with LeadMagicHook(task.conn_id, max_attempts=1, max_timeout=REQUEST_TIMEOUT).get_conn() as client:
            self._job_id = self._job_id or self._find_job(client)
            if self._job_id is None:  # LeadMagic may list it late
                raise LeadMagicError("LeadMagic does not list it yet", transient=True)
            cancel(task.log, client, self._job_id)

    def _find_job(self, client: LeadMagicClient) -> str | None:
        """Find the job of the task: its ID may not have been received, or another attempt may have submitted it."""
        from airflow_provider_leadmagic.bulk.submission import is_of_same_task

        key = str(self._idempotency_key)
        jobs = (job for job in client.bulk.list() if is_of_same_task(job.file_name, key))
        return next((job.job_id for job in jobs if not job.is_finished), None)


def cancel(log: Log, client: LeadMagicClient, job_id: str) -> None:
    """
    Cancel a job whose task was ended by a user, and log it.

    :param log: Logger of the task or its trigger.
    :param client: A client for the job's account.
    :param job_id: The job.
    :raises LeadMagicError: If LeadMagic rejects the request or does not respond.
    """
    client.bulk.cancel(job_id)
    log.warning("Canceled bulk job %s because its task was ended. Its hits so far are charged.", job_id)


def may_retry(error: Exception) -> bool:
    """Return whether to try again to cancel the job after an error."""
    if not isinstance(error, LeadMagicError):
        return True
    # Airflow reports an outage of its secrets backend as a missing connection.
    return error.transient or isinstance(error, LeadMagicConfigurationError)


def reason_of(error: Exception) -> str:
    """Return the text of a LeadMagicError, or only the type of any other error: its text may contain secrets."""
    return str(error) if isinstance(error, LeadMagicError) else type(error).__name__


def advice(conn_id: str, job_id: str | None, idempotency_key: str | None, reason: str, is_over: bool) -> str:
    """
    Return the log line about a job that could not be canceled, with the command that cancels it.

    :param conn_id: The connection that the job was submitted with.
    :param job_id: The job, if its ID is known.
    :param idempotency_key: A key of the task, if the ID is not known.
    :param is_over: Whether it is certain that a user ended the task.
    """
    bulk = f'LeadMagicHook("{conn_id}").bulk'
    condition = "run" if is_over else "if a user ended the task, run"
    if job_id:
        return f'Bulk job possibly not canceled: {condition} {bulk}.cancel("{job_id}") to stop it. Reason: {reason}'
    return (
        f"Bulk job possibly not canceled: {condition} {bulk}.cancel(job.job_id) for the job in {bulk}.list() whose "
        f"file_name starts with {str(idempotency_key).rpartition('-')[0]}. Reason: {reason}"
    )
