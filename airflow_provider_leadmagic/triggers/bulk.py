"""Triggers that wait for a bulk job to finish, or for the credits that a paused job needs."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_leadmagic.compat.deferral import airflow_calls_on_kill, finish_even_if_cancelled, in_thread
from airflow_provider_leadmagic.exceptions import LeadMagicConnectionError
from airflow_provider_leadmagic.triggers.credits import SufficientCreditsTrigger

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from airflow_provider_leadmagic.bulk.progress import JobProgress


#: Seconds for which a trigger tries to cancel the job. Airflow 3.3+ ends ``on_kill`` after 30 s.
CANCEL_PATIENCE = 20.0
#: Timeout of each request within that time, and the pause after a failed one, in seconds.
CANCEL_TIMEOUT = 5.0
CANCEL_PAUSE = 1.0


class JobTrigger(Protocol):
    """A trigger whose task has a bulk job at LeadMagic."""

    leadmagic_conn_id: str
    job_id: str
    deadline: float
    task_instance: Any

    @property
    def log(self) -> Any: ...


async def cancel_if_task_is_over(trigger: JobTrigger) -> None:
    """
    Cancel the job if a user ended the task, and only then.

    Airflow 3.3+ calls ``on_kill`` when a user ended the task, but also when another triggerer took over the trigger.
    Older versions cancel the trigger and do not say why. In both cases the state of the task shows the reason. A
    cleared task may already run again; its new attempt cancels the job itself.

    :param trigger: The trigger that is being stopped.
    """
    if trigger.task_instance is None or time.time() >= trigger.deadline:
        return  # in dag.test(), or because the deferral timed out: the next attempt joins the job
    failure = CancelFailure()
    # asyncio.wait() and not wait_for(), because reading the connection cannot be interrupted.
    canceling = asyncio.create_task(_cancel_with_retries(trigger, failure))
    try:
        done, _ = await asyncio.wait({canceling}, timeout=CANCEL_PATIENCE)
    except asyncio.CancelledError:  # the triggerer is stopping, and no other one will cancel the job
        _log_advice(trigger, failure)
        raise
    if not done or not canceling.result():
        _log_advice(trigger, failure)


@dataclass
class CancelFailure:
    """
    Why a job has not been canceled yet.

    :param reason: The last failure.
    :param is_over: Whether a user ended the task; None if that is not known yet.
    """

    reason: str = "no response in time"
    is_over: bool | None = None


async def _cancel_with_retries(trigger: JobTrigger, failure: CancelFailure) -> bool:
    """Cancel the job if a user ended the task. Return False if that failed."""
    from airflow_provider_leadmagic.bulk.cancel import may_retry, reason_of

    give_up_at = time.monotonic() + CANCEL_PATIENCE - CANCEL_PAUSE
    while True:
        try:
            await _cancel_once(trigger, failure)
        except Exception as error:
            failure.reason = reason_of(error)
            if not may_retry(error) or time.monotonic() >= give_up_at:
                return False
            await asyncio.sleep(CANCEL_PAUSE)
        else:
            return True


async def _cancel_once(trigger: JobTrigger, failure: CancelFailure) -> None:
    from airflow_provider_leadmagic.bulk.cancel import cancel
    from airflow_provider_leadmagic.compat.task_state import OVER, astate_of
    from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

    if failure.is_over is None:
        failure.is_over = await astate_of(trigger.task_instance) in {*OVER, None}
    if failure.is_over:
        hook = LeadMagicHook(trigger.leadmagic_conn_id, max_attempts=1, max_timeout=CANCEL_TIMEOUT)
        with await hook.aget_conn() as client:
            await in_thread(cancel, trigger.log, client, trigger.job_id)


def _log_advice(trigger: JobTrigger, failure: CancelFailure) -> None:
    from airflow_provider_leadmagic.bulk.cancel import advice

    is_over = bool(failure.is_over)
    trigger.log.error("%s", advice(trigger.leadmagic_conn_id, trigger.job_id, None, failure.reason, is_over))


@asynccontextmanager
async def job_canceled_with_task(trigger: JobTrigger) -> AsyncIterator[None]:
    """
    Cancel the job when the task is ended, on Airflow versions that do not call ``on_kill``.

    :param trigger: The trigger, which waits inside the ``with`` block.
    """
    try:
        yield
    except asyncio.CancelledError:
        if not airflow_calls_on_kill():
            await finish_even_if_cancelled(cancel_if_task_is_over(trigger))
        raise


class BulkJobTrigger(BaseTrigger):
    """
    Fires once, when a bulk job has finished or paused, or when a poll fails with a permanent error.

    :param leadmagic_conn_id: The connection.
    :param job_id: The job.
    :param poll_interval: Seconds between polls.
    :param deadline: Unix time at which Airflow times out the deferral.
    :param report_pause: Whether to fire when the job is paused; otherwise polling continues.
    :param not_before: Unix time before which not to poll, if LeadMagic sent a ``Retry-After``; 0 for none.
    :param waiting_since: Unix time of the worker's poll before it deferred; 0 if unknown, to poll at once.
    """

    def __init__(
        self,
        leadmagic_conn_id: str,
        job_id: str,
        poll_interval: float,
        deadline: float,
        report_pause: bool = True,
        not_before: float = 0.0,
        waiting_since: float = 0.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.leadmagic_conn_id = leadmagic_conn_id
        self.job_id = job_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.report_pause = report_pause
        self.not_before = not_before
        self.waiting_since = waiting_since

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments for Airflow's database; they contain no secrets."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "leadmagic_conn_id": self.leadmagic_conn_id,
            "job_id": self.job_id,
            "poll_interval": self.poll_interval,
            "deadline": self.deadline,
            "report_pause": self.report_pause,
            "not_before": self.not_before,
            "waiting_since": self.waiting_since,
        }

    async def on_kill(self) -> None:
        """Cancel the job if a user ended the task."""
        await cancel_if_task_is_over(self)

    async def run(self) -> AsyncGenerator[TriggerEvent, None]:
        """Poll the job until the task has to continue."""
        async with job_canceled_with_task(self):
            yield TriggerEvent(await self._first_event())  # type: ignore[no-untyped-call]

    async def _first_event(self) -> dict[str, Any]:
        # Imported here because they import the HTTP client, which parsing a DAG with this trigger does not need.
        from airflow_provider_leadmagic.bulk.progress import JobProgress
        from airflow_provider_leadmagic.triggers.shared_poll import first_wait, next_wait

        progress = JobProgress(self.log, self.job_id, self._next_poll_in, report_pause=self.report_pause)
        wait = first_wait(self.poll_interval, self.waiting_since, self.not_before)
        while True:
            await asyncio.sleep(wait)
            event = await self._poll(progress)
            if event is not None:
                return event
            wait = next_wait(self.poll_interval, max(self.poll_interval, progress.requested_wait))

    def _next_poll_in(self, requested: float) -> float:
        wait = max(self.poll_interval, requested)
        return wait if wait < self.deadline - time.time() else math.inf

    async def _poll(self, progress: JobProgress) -> dict[str, Any] | None:
        from airflow_provider_leadmagic.triggers.shared_poll import poll_once

        try:
            return await poll_once(self.leadmagic_conn_id, progress.poll, is_job=True)
        except LeadMagicConnectionError as error:
            return progress.handle_failure(error)


class PausedBulkJobTrigger(SufficientCreditsTrigger):
    """
    Waits for the credits that a paused job needs, like the trigger of a sensor.

    :param arguments: Arguments of :class:`~airflow_provider_leadmagic.triggers.credits.SufficientCreditsTrigger`.
    :param job_id: The paused job.
    :param deadline: Unix time at which Airflow times out the deferral.
    """

    def __init__(self, *arguments: Any, job_id: str, deadline: float, **kwargs: Any) -> None:
        super().__init__(*arguments, **kwargs)
        self.job_id = job_id
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments for Airflow's database; they contain no secrets."""
        path, kwargs = super().serialize()
        return path, {**kwargs, "job_id": self.job_id, "deadline": self.deadline}

    async def on_kill(self) -> None:
        """Cancel the job if a user ended the task."""
        await cancel_if_task_is_over(self)

    async def run(self) -> AsyncGenerator[TriggerEvent, None]:
        """Poll without a shared stream: on Airflow before 3.3, and in ``dag.test()``."""
        async with job_canceled_with_task(self):
            async for event in super().run():
                yield event
