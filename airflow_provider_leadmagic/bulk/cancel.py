"""
Cancel the bulk job of a task that a person ended, and leave it running when only the process has to stop.

DAG files load this module with their operator, so the HTTP client is imported where it is used.
"""

from __future__ import annotations

import threading
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_leadmagic.exceptions import LeadMagicError

if TYPE_CHECKING:
    from airflow_provider_leadmagic.client import LeadMagicClient
    from airflow_provider_leadmagic.compat.imports import Log

#: Seconds that ``on_kill`` waits for the job to be canceled. Airflow 3 kills the process 5 s after telling it to stop.
ON_KILL_PATIENCE = 2.0
#: How many jobs are searched, newest first, for one that was submitted a moment ago.
NEWEST_JOBS = 200


class RunningTask(NamedTuple):
    """
    The task instance whose job it is.

    :param log: The task's logger.
    :param conn_id: The connection.
    :param task_instance: The task instance.
    """

    log: Log
    conn_id: str
    task_instance: Any


class JobCanceller:
    """Knows the bulk job of a task while the task runs, so that ``on_kill`` can cancel it."""

    def __init__(self) -> None:
        self._task: RunningTask | None = None
        self._idempotency_key: str | None = None
        self._job_id: str | None = None
        self._is_stopped = False

    def before_submit(self, task: RunningTask, idempotency_key: str) -> None:
        """
        Remember the idempotency key so that :meth:`on_kill` can find the job.

        :param task: The task instance that submits it.
        :param idempotency_key: The key of the submission.
        :raises LeadMagicError: If the task has to stop. Airflow 3 lets it run on for five seconds after saying so.
        """
        self._task, self._idempotency_key = task, idempotency_key
        if self._is_stopped:
            raise LeadMagicError("This worker was told to stop before anything was ordered.")

    def remember_job(self, task: RunningTask, job_id: str) -> None:
        """
        Remember the job ID for :meth:`on_kill`.

        :param task: The task instance.
        :param job_id: The job.
        """
        self._task, self._job_id = task, job_id
        if self._is_stopped:  # while it was submitted
            self.on_kill()

    def on_kill(self) -> None:
        """Cancel the job if a person ended the task. When a worker is told to stop, the next attempt joins the job."""
        self._is_stopped = True
        if self._task is None:
            return
        # In a thread, as this runs in a signal handler: the code it interrupts may hold what asking Airflow needs.
        canceling = threading.Thread(target=self._cancel_if_task_is_over, args=[self._task], name="leadmagic-on-kill")
        canceling.start()
        canceling.join(timeout=ON_KILL_PATIENCE)

    def _cancel_if_task_is_over(self, task: RunningTask) -> None:
        from airflow_provider_leadmagic.compat.task_state import OVER, state_of
        from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

        try:
            state = state_of(task.task_instance)
        except Exception:
            task.log.exception("Nobody could be asked why this task has to stop; its job goes on, if there is one.")
            return
        if state not in OVER:
            task.log.info("This worker has to stop; the job goes on, if there is one, and the next try joins it.")
            return
        with LeadMagicHook(task.conn_id, max_attempts=1).get_conn() as client:
            job_id = self._job_id or self._find_job(client)
            if job_id is not None:
                cancel(task.log, client, job_id)

    def _find_job(self, client: LeadMagicClient) -> str | None:
        """Find a job that LeadMagic has taken, but whose ID has not arrived."""
        from airflow_provider_leadmagic.bulk.submission import was_submitted_with

        jobs = islice(client.bulk.list(), NEWEST_JOBS)
        return next((job.job_id for job in jobs if was_submitted_with(job.file_name, str(self._idempotency_key))), None)


def cancel(log: Log, client: LeadMagicClient, job_id: str) -> None:
    """
    Cancel a job whose task was ended by a person.

    :param log: Logger of the task or its trigger.
    :param client: A client for the job's account.
    :param job_id: The job.
    """
    try:
        client.bulk.cancel(job_id)
    except LeadMagicError as error:
        log.error(  # noqa: TRY400 - people need the sentence, not the stack
            "Job %s could not be canceled and may go on to spend credits: cancel it there. %s", job_id, error
        )
    else:
        log.warning("Job %s was canceled at LeadMagic, as its task was ended. Rows done by then are paid.", job_id)
