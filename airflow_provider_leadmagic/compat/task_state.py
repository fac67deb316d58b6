"""What Airflow knows of a task beyond its context: its state, its first reschedule, and values kept across attempts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from airflow.sdk.execution_time.comms import GetTaskStates

#: States of a task that ran and shall not go on. The others are those of one that goes on, here or in another process.
OVER = frozenset({"failed", "success", "skipped", "removed", "upstream_failed", "restarting"})


def state_of(task_instance: Any) -> str | None:
    """
    Ask Airflow for the state of a task instance, as the rest of Airflow sees it.

    :param task_instance: Ours, in a worker.
    :return: The state; None for one that was cleared.
    """
    if hasattr(task_instance, "current_state"):  # Airflow 2, where tasks may ask the database
        state = task_instance.current_state()
        return None if state is None else str(state)
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import TaskStatesResult

    supervisor: Any = task_runner.SUPERVISOR_COMMS
    answer = supervisor.send(_question(task_instance))
    if not isinstance(answer, TaskStatesResult):
        # Airflow 3.0 and 3.1 mix up the answers if the signal interrupted another question: that was its answer, and
        # the next one is ours. Whoever asked gets none, but has only seconds to live.
        answer = supervisor._get_response()
    return _only(answer.task_states)


async def astate_of(task_instance: Any) -> str | None:
    """
    Ask the same from within a triggerer.

    :param task_instance: Of a trigger.
    :return: The state; None for one that was cleared.
    """
    if hasattr(task_instance, "current_state"):
        return await asyncio.to_thread(state_of, task_instance)
    from airflow.sdk.execution_time import task_runner

    # On its event loop, as a triggerer of Airflow 3.0 or 3.1 answers no thread.
    answer: Any = await task_runner.SUPERVISOR_COMMS.asend(_question(task_instance))
    return _only(answer.task_states)


def _question(task_instance: Any) -> GetTaskStates:
    from airflow.sdk.execution_time.comms import GetTaskStates

    map_index = task_instance.map_index
    return GetTaskStates(
        dag_id=task_instance.dag_id,
        run_ids=[task_instance.run_id],
        task_ids=[task_instance.task_id],
        map_index=None if map_index is None or map_index < 0 else map_index,
    )


def _only(states: dict[str, dict[str, Any]]) -> str | None:
    return next((state for of_a_run in states.values() for state in of_a_run.values()), None)


def first_reschedule(task_instance: Any, retries: int, context: Any) -> datetime | None:
    """
    Return when a rescheduled sensor poked first: Airflow 3 knows by the task instance, Airflow 2 by its database.

    :param task_instance: The task instance.
    :param retries: The task's ``retries``.
    :param context: The task's context.
    """
    if hasattr(task_instance, "get_first_reschedule_date"):
        return cast("datetime | None", task_instance.get_first_reschedule_date(context))
    from airflow.sensors.base import _orig_start_date

    ids = {name: getattr(task_instance, name) for name in ("dag_id", "task_id", "run_id", "map_index")}
    return cast("datetime | None", _orig_start_date(**ids, try_number=(task_instance.max_tries or 0) - retries + 1))


class TaskStateStore(Protocol):
    """Airflow 3.3+: keeps values with a task. They outlive an attempt, and also a clear."""

    def get(self, key: str) -> Any: ...
    def set(self, key: str, value: Any) -> None: ...


class AssetStateStore(Protocol):
    """Airflow 3.3+: keeps values with an asset, for the triggers of its watchers, across restarts."""

    async def aget(self, key: str) -> Any: ...
    async def aset(self, key: str, value: Any) -> None: ...


def task_state_store(context: Mapping[str, Any]) -> TaskStateStore | None:
    """
    Return the state store of a task; None before Airflow 3.3.

    :param context: The task's context.
    """
    return cast("TaskStateStore | None", context.get("task_state_store"))


def asset_state_store(trigger: object) -> AssetStateStore | None:
    """
    Return the state store of a watcher's asset; None before Airflow 3.3.

    :param trigger: The watcher's trigger.
    """
    return cast("AssetStateStore | None", getattr(trigger, "asset_state_store", None))
