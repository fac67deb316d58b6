"""Airflow's ``TriggerRunner`` without a supervisor: it receives its triggers directly, and its events are recorded."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from pkgutil import resolve_name
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow.jobs.triggerer_job_runner import TriggerRunner

if TYPE_CHECKING:
    from collections.abc import Iterable

HAS_SUPERVISOR = hasattr(TriggerRunner, "init_comms")  # Airflow 3.0+


@dataclass(frozen=True)
class FiredEvent:
    """
    An event that a trigger fired.

    :param at: Unix time at which the runner received it.
    :param trigger_id: ID of the trigger, counted from 1.
    :param payload: Payload of the ``TriggerEvent``.
    """

    at: float
    trigger_id: int
    payload: Any


class StandaloneRunner(TriggerRunner):
    """The unchanged runner, including its once-per-second loop, without the supervisor that uses the database."""

    def __init__(self, classpath: str, arguments: Iterable[dict[str, Any]]) -> None:
        super().__init__()
        self.fired: list[FiredEvent] = []
        self.events = _RecordedEvents(self.fired)
        self.to_create.extend(_workload(number, classpath, kwargs) for number, kwargs in enumerate(arguments, start=1))

    async def init_comms(self) -> None:
        """Replace the connection to the supervisor."""
        self.comms_decoder = _FakeSupervisor()


class _RecordedEvents(deque):
    """The runner's event queue, which also appends each event to a list that the runner does not empty."""

    def __init__(self, recorded: list[FiredEvent]) -> None:
        super().__init__()
        self._recorded = recorded

    def append(self, entry: tuple[Any, ...]) -> None:
        self._recorded.append(FiredEvent(time.time(), entry[0], entry[1].payload))
        super().append(entry)


class _FakeSupervisor:
    """Responds to every message of the runner with "no changes"."""

    def __init__(self) -> None:
        self._reader_task = asyncio.get_running_loop().create_future()

    async def asend(self, _message: object) -> Any:
        from airflow.jobs.triggerer_job_runner import messages

        return messages.TriggerStateSync(to_create=[], to_cancel=set())


def _workload(number: int, classpath: str, kwargs: dict[str, Any]) -> Any:
    if not HAS_SUPERVISOR:
        return number, _with_task(resolve_name(classpath)(**kwargs), number)
    from airflow.executors.workloads import RunTrigger
    from airflow.models.trigger import Trigger

    return RunTrigger(id=number, ti=None, classpath=classpath, encrypted_kwargs=Trigger.encrypt_kwargs(kwargs))


def _with_task(trigger: Any, number: int) -> Any:
    trigger.task_instance = SimpleNamespace(
        dag_id="benchmark", run_id="run", task_id=f"gate_{number}", map_index=-1, try_number=1, trigger_timeout=None
    )
    return trigger
