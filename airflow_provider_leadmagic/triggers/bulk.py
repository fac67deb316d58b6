"""Triggers that wait for a bulk job: for its end, or for the credits it paused for."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_leadmagic.compat.deferral import airflow_calls_on_kill, finish_even_if_cancelled
from airflow_provider_leadmagic.exceptions import LeadMagicConnectionError
from airflow_provider_leadmagic.triggers.credits import SufficientCreditsTrigger

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from airflow_provider_leadmagic.bulk.progress import JobProgress


class JobTrigger(Protocol):
    """A trigger of a task whose bulk job is running."""

    leadmagic_conn_id: str
    job_id: str
    deadline: float
    task_instance: Any

    @property
    def log(self) -> Any: ...


async def cancel_if_task_is_over(trigger: JobTrigger) -> None:
    """
    Cancel the job if a person ended the task, and only then.

    Airflow 3.3+ calls ``on_kill`` for that, but also when another triggerer took the trigger over. Before, a trigger is
    only cancelled, whatever the reason. In both cases the state of the task has to tell. A task that was cleared may
    run again by then, and cancels the job by itself.

    :param trigger: The trigger.
    """
    if not await _is_task_over(trigger):
        return
    from airflow_provider_leadmagic.bulk.cancel import cancel
    from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

    with await LeadMagicHook(trigger.leadmagic_conn_id).aget_conn() as client:
        await asyncio.to_thread(cancel, trigger.log, client, trigger.job_id)


@asynccontextmanager
async def job_cancelled_with_task(trigger: JobTrigger) -> AsyncIterator[None]:
    """
    Do, where Airflow does not call ``on_kill``, what it would do.

    :param trigger: The trigger, which waits in the ``with`` block.
    """
    try:
        yield
    except asyncio.CancelledError:
        if not airflow_calls_on_kill():
            await finish_even_if_cancelled(cancel_if_task_is_over(trigger))
        raise


async def _is_task_over(trigger: JobTrigger) -> bool:
    if trigger.task_instance is None or time.time() >= trigger.deadline:
        return False  # in dag.test(), or the deferral ran out of time: the next attempt joins the job
    from airflow_provider_leadmagic.compat.task_state import OVER, astate_of

    try:
        return await astate_of(trigger.task_instance) in {*OVER, None}
    except Exception:
        trigger.log.exception("Nobody could be asked why job %s is not watched any more; it goes on.", trigger.job_id)
        return False


class BulkJobTrigger(BaseTrigger):
    """
    Fires once when a bulk job has ended or paused, or when looking at it has become pointless.

    :param leadmagic_conn_id: The connection.
    :param job_id: The job.
    :param poll_interval: Seconds between two looks.
    :param deadline: Unix time at which Airflow ends the deferral.
    :param report_pause: Whether a pause fires; if not, it is waited out.
    :param not_before: Unix time before which not to look, because LeadMagic said so.
    """

    def __init__(
        self,
        leadmagic_conn_id: str,
        job_id: str,
        poll_interval: float,
        deadline: float,
        report_pause: bool = True,
        not_before: float = 0.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.leadmagic_conn_id = leadmagic_conn_id
        self.job_id = job_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.report_pause = report_pause
        self.not_before = not_before

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Describe the trigger for the database: names and numbers, nothing secret."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "leadmagic_conn_id": self.leadmagic_conn_id,
            "job_id": self.job_id,
            "poll_interval": self.poll_interval,
            "deadline": self.deadline,
            "report_pause": self.report_pause,
            "not_before": self.not_before,
        }

    async def on_kill(self) -> None:
        """Cancel the job if a person ended the task."""
        await cancel_if_task_is_over(self)

    async def run(self) -> AsyncGenerator[TriggerEvent, None]:
        """Poll the job until there is something to do about it."""
        async with job_cancelled_with_task(self):
            yield TriggerEvent(await self._first_event())  # type: ignore[no-untyped-call]

    async def _first_event(self) -> dict[str, Any]:
        from airflow_provider_leadmagic.bulk.progress import JobProgress

        requested_wait = self.not_before - time.time()
        watch = JobProgress(self.log, self.job_id, report_pause=self.report_pause, requested_wait=requested_wait)
        while True:
            await asyncio.sleep(max(self.poll_interval, watch.requested_wait))
            event = await self._look(watch)
            if event is not None:
                return event

    async def _look(self, watch: JobProgress) -> dict[str, Any] | None:
        from airflow_provider_leadmagic.triggers.shared_poll import client_for_one_poll

        try:
            client = await client_for_one_poll(self.leadmagic_conn_id)
        except LeadMagicConnectionError as error:
            return watch.note_failure(error)
        try:
            return await asyncio.to_thread(watch.look, client)
        finally:
            client.close()


class PausedBulkJobTrigger(SufficientCreditsTrigger):
    """
    Waits like a gate for the credits that a paused job needs to go on.

    :param arguments: Arguments of :class:`~airflow_provider_leadmagic.triggers.credits.SufficientCreditsTrigger`.
    :param job_id: The job.
    :param deadline: Unix time at which Airflow ends the deferral.
    """

    def __init__(self, *arguments: Any, job_id: str, deadline: float, **kwargs: Any) -> None:
        super().__init__(*arguments, **kwargs)
        self.job_id = job_id
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Describe the trigger for the database: names and numbers, nothing secret."""
        path, kwargs = super().serialize()
        return path, {**kwargs, "job_id": self.job_id, "deadline": self.deadline}

    async def on_kill(self) -> None:
        """Cancel the job if a person ended the task."""
        await cancel_if_task_is_over(self)

    async def run(self) -> AsyncGenerator[TriggerEvent, None]:
        """Work without a shared stream: on Airflow before 3.3, and in ``dag.test()``."""
        async with job_cancelled_with_task(self):
            async for event in super().run():
                yield event
