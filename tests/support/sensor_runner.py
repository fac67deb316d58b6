"""
Run one sensor as Airflow's task runner, scheduler and triggerer would.

``dag.test()`` is not sufficient because it does not apply deferral timeouts. The end-to-end tests check the same
behavior with a running Airflow.
"""

from __future__ import annotations

import asyncio
import copy
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from operator import methodcaller
from typing import Any

from airflow.exceptions import AirflowRescheduleException

from airflow_provider_leadmagic.compat.imports import AirflowSkipException
from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor
from dev.local_airflow import IS_AIRFLOW_3
from tests.support.airflow_names import TaskDeferred

MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke", "deferrable": False},
    "reschedule": {"mode": "reschedule", "deferrable": False},
    "deferrable": {"deferrable": True},
}
DEFERRAL_TIMEOUT = "Trigger timeout" if IS_AIRFLOW_3 else "Trigger/execution timeout"


@dataclass(frozen=True)
class Outcome:
    """How a task ended."""

    state: str
    xcom: Any = None
    error: str | None = None
    message: str = ""


@dataclass
class TaskInstance:
    """The attributes of a task instance that sensors use."""

    first_reschedule: datetime | None = None
    dag_id: str = "waiting"
    task_id: str = "wait_for_credits"
    run_id: str = "run"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    pushed: dict[str, Any] = field(default_factory=dict)

    if IS_AIRFLOW_3:

        def get_first_reschedule_date(self, _context: Any) -> datetime | None:
            return self.first_reschedule

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = json.loads(json.dumps(value))


#: The running task instance. It also contains the time of the first poke. Airflow 2 would read this time from its
#: database; a fixture makes it read this object instead.
running = TaskInstance()


def run_to_end(sensor: SufficientCreditsSensor) -> Outcome:
    """Run a sensor until it succeeds, fails or is skipped."""
    running.first_reschedule = None
    try:
        return Outcome("success", xcom=_finish(sensor, running))
    except AirflowSkipException as skip:
        return Outcome("skipped", message=str(skip))
    except Exception as error:
        return Outcome("failed", error=type(error).__name__, message=str(error))


def _finish(sensor: SufficientCreditsSensor, ti: TaskInstance) -> Any:
    context: Any = {"ti": ti, "task_instance": ti}
    step = methodcaller("execute", context)
    while True:
        started_at = datetime.now(UTC)
        fresh = copy.copy(sensor)  # each step is a new process, without the state of the previous one
        try:
            return step(fresh)
        except AirflowRescheduleException as reschedule:
            ti.first_reschedule = ti.first_reschedule or started_at
            time.sleep(max(0.0, (reschedule.reschedule_date - datetime.now(UTC)).total_seconds()))
        except TaskDeferred as deferral:
            step = methodcaller("resume_execution", *wait_for_event(deferral), context)


def wait_for_event(deferral: TaskDeferred) -> tuple[str, dict[str, Any]]:
    """Run the trigger of a deferral; return name and arguments of the method with which the task resumes."""
    assert deferral.timeout is not None
    kwargs = json.loads(json.dumps(deferral.kwargs or {}))
    try:
        event = asyncio.run(asyncio.wait_for(first_event(deferral.trigger), deferral.timeout.total_seconds()))
    except TimeoutError:
        return "__fail__", {"error": DEFERRAL_TIMEOUT}
    return deferral.method_name, {**kwargs, "event": event}


async def first_event(trigger: Any) -> Any:
    """Serialize and deserialize a trigger, run it, and return its first event, also serialized and deserialized."""
    classpath, kwargs = trigger.serialize()
    module, _, name = classpath.rpartition(".")
    async for event in getattr(import_module(module), name)(**json.loads(json.dumps(kwargs))).run():
        return json.loads(json.dumps(event.payload))
    raise AssertionError("the trigger ended without an event")
