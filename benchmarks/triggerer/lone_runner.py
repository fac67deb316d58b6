"""Airflow's runner of triggers with nobody to report to: it is handed its triggers, and its events are kept."""

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
class Fired:
    """
    An event of a trigger.

    :param at: Unix time at which the runner had it.
    :param trigger_id: Whose event it is.
    :param payload: What it says.
    """

    at: float
    trigger_id: int
    payload: Any


class LoneRunner(TriggerRunner):
    """The runner as it is, its loop of once a second included, without the process that talks to the database."""

    def __init__(self, classpath: str, arguments: Iterable[dict[str, Any]]) -> None:
        super().__init__()
        self.fired: list[Fired] = []
        self.events = _KeptEvents(self.fired)
        self.to_create.extend(_workload(number, classpath, kwargs) for number, kwargs in enumerate(arguments, start=1))

    async def init_comms(self) -> None:
        """Talk to nobody."""
        self.comms_decoder = _SilentSupervisor()


class _KeptEvents(deque):
    """The runner's queue of events, with a copy that nobody empties."""

    def __init__(self, kept: list[Fired]) -> None:
        super().__init__()
        self._kept = kept

    def append(self, entry: tuple[Any, ...]) -> None:
        self._kept.append(Fired(time.time(), entry[0], entry[1].payload))
        super().append(entry)


class _SilentSupervisor:
    """Answers each report of the runner with: nothing new."""

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
