"""
Cancel the bulk job when a user ends its task; leave it running when only the process is stopped.

DAG files import this module together with the operator, so the HTTP client is imported only where it is used.
"""

from __future__ import annotations

import threading
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_leadmagic.exceptions import LeadMagicError

if TYPE_CHECKING:
    from airflow_provider_leadmagic.client import LeadMagicClient
    from airflow_provider_leadmagic.compat.imports import Log

#: Seconds that ``on_kill`` waits for the cancellation. Airflow 3 kills the process 5 s after the signal to stop.
ON_KILL_PATIENCE = 2.0
#: Number of the newest jobs among which ``on_kill`` looks for the one that was just submitted.
NEWEST_JOBS = 200


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
        self._is_stopped = False

    def before_submit(self, task: RunningTask, idempotency_key: str) -> None:
        """
        Remember the idempotency key so that :meth:`on_kill` can find the job.

        :param task: The task that is about to submit.
        :param idempotency_key: The key of the submission.
        :raises LeadMagicError: If ``on_kill`` was called before: on Airflow 3 the task may run for 5 s after.
        """
        self._task, self._idempotency_key = task, idempotency_key
        if self._is_stopped:
            raise LeadMagicError("Bulk job not submitted, because the task was stopped.")

    def remember_job(self, task: RunningTask, job_id: str) -> None:
        """
        Remember the job ID for :meth:`on_kill`.

        :param task: The task that waits for the job.
        :param job_id: The job.
        """
        self._task, self._job_id = task, job_id
        if self._is_stopped:  # on_kill was called during the submission
            self.on_kill()

    def on_kill(self) -> None:
        """Cancel the job if a user ended the task. If only the worker is stopped, the next attempt joins the job."""
        self._is_stopped = True
        if self._task is None:
            return
        # This runs in a signal handler. The interrupted code may hold a lock that the request to Airflow needs, so send
        # the request from a thread.
        canceling = threading.Thread(target=self._cancel_if_task_is_over, args=[self._task], name="leadmagic-on-kill")
        canceling.start()
        canceling.join(timeout=ON_KILL_PATIENCE)

    def _cancel_if_task_is_over(self, task: RunningTask) -> None:
        from airflow_provider_leadmagic.compat.task_state import OVER, state_of
        from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

        try:
            state = state_of(task.task_instance)
        except Exception:
            task.log.exception("Could not determine why the task was stopped; leaving any bulk job running.")
            return
        if state not in OVER:
            task.log.info("Worker is stopping; leaving any bulk job running. The next attempt joins it.")
            return
        with LeadMagicHook(task.conn_id, max_attempts=1).get_conn() as client:
            job_id = self._job_id or self._find_job(client)
            if job_id is not None:
                cancel(task.log, client, job_id)

    def _find_job(self, client: LeadMagicClient) -> str | None:
        """Find a job that LeadMagic has accepted, but whose ID has not been received."""
        from airflow_provider_leadmagic.bulk.submission import was_submitted_with

        jobs = islice(client.bulk.list(), NEWEST_JOBS)
        return next((job.job_id for job in jobs if was_submitted_with(job.file_name, str(self._idempotency_key))), None)


def cancel(log: Log, client: LeadMagicClient, job_id: str) -> None:
    """
    Cancel a job whose task was ended by a user, and log the outcome.

    :param log: Logger of the task or its trigger.
    :param client: A client for the job's account.
    :param job_id: The job.
    """
    try:
        client.bulk.cancel(job_id)
    except LeadMagicError as error:
        log.error(  # noqa: TRY400 - users need the message, not the traceback
            "Could not cancel bulk job %s: cancel it at LeadMagic, or it may keep spending credits. %s", job_id, error
        )
    else:
        log.warning("Canceled bulk job %s because its task was ended. Processed rows are charged.", job_id)
