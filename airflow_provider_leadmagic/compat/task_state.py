"""Read from any Airflow version: the state of a task, state stores, what kind of run it is, and URLs of Airflow."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from socket import gethostname
from typing import TYPE_CHECKING, Any, Protocol, cast

from airflow_provider_leadmagic.compat.deferral import in_thread

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from airflow.sdk.execution_time.comms import GetTaskStates

#: States in which a task that was running must not continue. In any other state it continues, here or in another
#: process: for example, a task that is cleared while it runs is ``restarting``.
OVER = frozenset({"failed", "success", "skipped", "removed", "upstream_failed"})

_TEMPORARY_RUN = "__airflow_temporary_run_"


def state_of(task_instance: Any) -> str | None:
    """
    Return the state that Airflow has stored for a task instance.

    :param task_instance: Task instance that runs in this worker.
    :return: The state; None for a cleared task instance, and on Airflow 2 also if its run was deleted.
    """
    if hasattr(task_instance, "current_state"):  # Airflow 2, where tasks have access to the database
        state = task_instance.current_state()
        return None if state is None else str(state)
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import TaskStatesResult

    supervisor: Any = task_runner.SUPERVISOR_COMMS
    response = supervisor.send(_state_request(task_instance))
    if not isinstance(response, TaskStatesResult):
        # On Airflow 3.0 and 3.1, the signal that ends the task can interrupt another request, whose response arrives
        # first: receive once more. The interrupted request then gets no response, but this process ends within seconds.
        response = supervisor._get_response()
    return _first_state(response.task_states)


async def astate_of(task_instance: Any) -> str | None:
    """
    Return the state of a trigger's task instance without blocking the triggerer.

    :param task_instance: Task instance of the trigger.
    :return: As for :func:`state_of`.
    """
    if hasattr(task_instance, "current_state"):
        return await in_thread(state_of, task_instance)
    from airflow.sdk.execution_time import task_runner

    # On the event loop, because a triggerer of Airflow 3.0 or 3.1 does not respond to threads.
    response: Any = await task_runner.SUPERVISOR_COMMS.asend(_state_request(task_instance))
    return _first_state(response.task_states)


def _state_request(task_instance: Any) -> GetTaskStates:
    from airflow.sdk.execution_time.comms import GetTaskStates

    map_index = task_instance.map_index
    return GetTaskStates(
        dag_id=task_instance.dag_id,
        run_ids=[task_instance.run_id],
        task_ids=[task_instance.task_id],
        map_index=None if map_index is None or map_index < 0 else map_index,
    )


def _first_state(states_by_run: dict[str, dict[str, Any]]) -> str | None:
    # No task instance means that its run was deleted.
    return next((state for states in states_by_run.values() for state in states.values()), "removed")


def first_reschedule(task_instance: Any, retries: int, context: Any) -> datetime | None:
    """
    Return the time of a rescheduled sensor's first poke.

    Airflow 3 provides it with the task instance, Airflow 2 in its database.

    :param task_instance: Task instance of the sensor.
    :param retries: ``retries`` of the sensor.
    :param context: Context of the task.
    :return: The time; None at the first poke.
    """
    if hasattr(task_instance, "get_first_reschedule_date"):
        return cast("datetime | None", task_instance.get_first_reschedule_date(context))
    from airflow.sensors.base import _orig_start_date

    ids = {name: getattr(task_instance, name) for name in ("dag_id", "task_id", "run_id", "map_index")}
    return cast("datetime | None", _orig_start_date(**ids, try_number=(task_instance.max_tries or 0) - retries + 1))


class TaskStateStore(Protocol):
    """Task state store of Airflow 3.3+. Its values survive a retry and even a clear."""

    def get(self, key: str) -> Any: ...
    def set(self, key: str, value: Any) -> None: ...


class AssetStateStore(Protocol):
    """Asset state store of Airflow 3.3+, for triggers of watchers. Its values survive a restart of the triggerer."""

    async def aget(self, key: str) -> Any: ...
    async def aset(self, key: str, value: Any) -> None: ...


def task_state_store(context: Mapping[str, Any]) -> TaskStateStore | None:
    """
    Return the state store of a task; None before Airflow 3.3, and in ``airflow tasks test``.

    A task under test may have the store of a real run, which must not change.

    :param context: Context of the task.
    """
    return None if is_test(context) else cast("TaskStateStore | None", context.get("task_state_store"))


def asset_state_store(trigger: object) -> AssetStateStore | None:
    """
    Return the state store of a watcher's asset; None before Airflow 3.3.

    :param trigger: Trigger of the watcher.
    """
    return cast("AssetStateStore | None", getattr(trigger, "asset_state_store", None))


def tested_run(context: Mapping[str, Any]) -> str | None:
    """
    Return what identifies a run in ``airflow tasks test``: its logical date, or its run ID if it has no date.

    The run ID alone is not enough: a temporary run gets a new one each time, even for the same date.

    :param context: Context of the task.
    :return: The date or ID; None for any other run.
    """
    if not is_test(context):
        return None
    date = context.get("logical_date")
    return str(context["ti"].run_id if date is None else date.isoformat())


def is_test(context: Mapping[str, Any]) -> bool:
    """
    Return whether the task runs in ``airflow tasks test``, which uses the real run of a date if there is one.

    :param context: Context of the task.
    """
    return sys.argv[1:3] == ["tasks", "test"] or str(context["ti"].run_id).startswith(_TEMPORARY_RUN)


def can_claim(context: Mapping[str, Any]) -> bool:
    """
    Return whether Airflow counts the task as running: only then can it claim credits.

    Airflow does not count a task of ``airflow tasks test`` as running. Airflow 2 does not count a task of
    ``airflow dags test`` either: it has no ``job_id``.

    :param context: Context of the task.
    """
    return not is_test(context) and getattr(context["ti"], "job_id", "") is not None


def current_task() -> dict[str, str]:
    """Return ``dag_id`` and ``task_id`` of the task that runs in this process; nothing outside a task."""
    from airflow_provider_leadmagic.compat.imports import get_current_context

    try:
        task_instance = get_current_context()["ti"]
    except Exception:  # its class differs between versions
        return {}
    return {"dag_id": task_instance.dag_id, "task_id": task_instance.task_id}


def asset_outlets(outlets: Iterable[Any]) -> list[Any]:
    """
    Return the outlets whose events can get an ``extra`` from the task: assets and references to assets, or datasets on
    Airflow 2.

    Aliases are left out: their events get the ``extra`` that the DAG author passes to ``add()``. On Airflow 2.11 and
    3.0, a nested ``extra`` of an alias fails the task after its work is done.

    :param outlets: ``outlets`` of the operator, which may also be objects of a lineage backend.
    """
    kinds: tuple[type[Any], ...]
    if find_spec("airflow.sdk"):
        from airflow.sdk.definitions.asset import Asset, AssetRef

        kinds = (Asset, AssetRef)
    else:
        from airflow.datasets import Dataset

        kinds = (Dataset,)
    return [outlet for outlet in outlets if isinstance(outlet, kinds)]


def web_url() -> str:
    """Return the URL of Airflow's web interface, in lower case; if not set, Airflow's default (empty since 3.0)."""
    return _configured_url("api" if find_spec("airflow.sdk") else "webserver", "base_url")


def execution_api_url() -> str:
    """Return the configured URL at which workers reach Airflow; empty if there is none, and on Airflow 2."""
    return _configured_url("core", "execution_api_server_url")


def _configured_url(section: str, option: str) -> str:
    from airflow_provider_leadmagic.compat.imports import conf

    return str(conf.get(section, option, fallback=None) or "").rstrip("/").lower()


def origin_of_run(context: Mapping[str, Any]) -> str:
    """
    Return what distinguishes a run from those of other Airflows: the microsecond in which it started.

    Retries do not change it. A clear changes it if the run had ended. For ``airflow tasks test`` and ``airflow dags
    test``, which set the start themselves, this is the name of the machine.

    :param context: Context of the task.
    """
    start = context["dag_run"].start_date
    if is_test(context) or start == context.get("logical_date"):
        return gethostname()
    return f"{start.timestamp():.6f}"
