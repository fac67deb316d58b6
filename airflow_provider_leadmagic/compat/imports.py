"""
Import the names that moved between Airflow versions.

All other modules import them only from here, except those for the page (``ui`` and ``compat/auth.py``).

Each name is resolved when it is first imported from here, so that a DAG file loads only what it uses. The table below
lists the modules of each name, newest first. Airflow 2.11 has no ``airflow.sdk`` at all. Airflow 3.0 and 3.1 have
``airflow.sdk.exceptions``, but without the exceptions below.
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from airflow.sdk import BaseHook as BaseHook
    from airflow.sdk import BaseNotifier as BaseNotifier
    from airflow.sdk import BaseOperator as BaseOperator
    from airflow.sdk import BaseOperatorLink as BaseOperatorLink
    from airflow.sdk import BaseSensorOperator as BaseSensorOperator
    from airflow.sdk import Connection as Connection
    from airflow.sdk import Context as Context
    from airflow.sdk import ObjectStoragePath as ObjectStoragePath
    from airflow.sdk import PokeReturnValue as PokeReturnValue
    from airflow.sdk import get_current_context as get_current_context
    from airflow.sdk.configuration import conf as conf
    from airflow.sdk.definitions.context import context_merge as context_merge
    from airflow.sdk.exceptions import AirflowFailException as AirflowFailException
    from airflow.sdk.exceptions import AirflowNotFoundException as AirflowNotFoundException
    from airflow.sdk.exceptions import AirflowRescheduleException as AirflowRescheduleException
    from airflow.sdk.exceptions import AirflowSensorTimeout as AirflowSensorTimeout
    from airflow.sdk.exceptions import AirflowSkipException as AirflowSkipException
    from airflow.sdk.observability.stats import Stats as Stats
    from airflow.sdk.types import TaskInstanceKey as TaskInstanceKey
    from airflow.triggers.base import BaseEventTrigger as BaseEventTrigger

_SOURCES: dict[str, tuple[str, ...]] = {
    # Since 3.2 in the first module, before 3.2 in the second. Stats has three modules: the second is for 3.0 and 3.1,
    # the third for 2.11.
    "AirflowFailException": ("airflow.sdk.exceptions", "airflow.exceptions"),
    "AirflowNotFoundException": ("airflow.sdk.exceptions", "airflow.exceptions"),
    "AirflowRescheduleException": ("airflow.sdk.exceptions", "airflow.exceptions"),
    "AirflowSensorTimeout": ("airflow.sdk.exceptions", "airflow.exceptions"),
    "AirflowSkipException": ("airflow.sdk.exceptions", "airflow.exceptions"),
    "Stats": ("airflow.sdk.observability.stats", "airflow.observability.stats", "airflow.stats"),
    "conf": ("airflow.sdk.configuration", "airflow.configuration"),
    # Since 3.0 in the first module; in 2.11, in the second.
    "BaseEventTrigger": ("airflow.triggers.base",),
    "BaseHook": ("airflow.sdk", "airflow.hooks.base"),
    "BaseNotifier": ("airflow.sdk", "airflow.notifications.basenotifier"),
    "BaseOperator": ("airflow.sdk", "airflow.models.baseoperator"),
    "BaseOperatorLink": ("airflow.sdk", "airflow.models.baseoperatorlink"),
    "BaseSensorOperator": ("airflow.sdk", "airflow.sensors.base"),
    "Connection": ("airflow.sdk", "airflow.models.connection"),
    "Context": ("airflow.sdk", "airflow.utils.context"),
    "ObjectStoragePath": ("airflow.sdk", "airflow.io.path"),
    "PokeReturnValue": ("airflow.sdk", "airflow.sensors.base"),
    "context_merge": ("airflow.sdk.definitions.context", "airflow.utils.context"),
    "get_current_context": ("airflow.sdk", "airflow.operators.python"),
}

#: Copy of Airflow's constant. Since 3.0 it is in ``airflow.models``. To import that at each parse of a DAG file would
#: take longer than to import this whole package.
XCOM_RETURN_KEY = "return_value"


class Log(Protocol):
    """The methods that standard-library loggers and the loggers of Airflow tasks have in common."""

    def info(self, message: str, /, *args: object) -> object: ...
    def warning(self, message: str, /, *args: object) -> object: ...
    def error(self, message: str, /, *args: object) -> object: ...
    def exception(self, message: str, /, *args: object) -> object: ...


def __getattr__(name: str) -> Any:
    """Import a name of the table from the installed Airflow, and cache it."""
    for module in _SOURCES.get(name, ()):
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            continue
        globals()[name] = found
        return found
    if name == "BaseEventTrigger":  # Airflow 2.11 has no event triggers
        return importlib.import_module("airflow.triggers.base").BaseTrigger
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def path_text(path: Any) -> Any:
    """
    Convert a path object to a string, and return any other value unchanged.

    Airflow 3.0 and 3.1 mistake a path object in a template field for the output of a task, because both have a method
    ``resolve``.

    :param path: Value for a template field.
    """
    is_path = isinstance(path, os.PathLike) or hasattr(path, "storage_options")
    return str(path) if is_path else path


def async_notification(callback: Any, context: Context) -> Awaitable[Any] | None:
    """
    Return an awaitable that sends the notification of a notifier that has ``async_notify`` but no ``notify``, which
    Airflow allows since 3.1. Return None for any other callback.

    :param callback: A notifier or another callable.
    :param context: Context of the task.
    """
    if not hasattr(callback, "async_notify"):
        return None
    from airflow_provider_leadmagic.compat.imports import BaseNotifier

    if getattr(type(callback), "notify", None) is not BaseNotifier.notify:
        return None
    callback.context = context  # where an awaited notifier reads it
    return cast("Awaitable[Any]", callback)


class _NotGiven:
    def __repr__(self) -> str:
        return "None"


#: Default of an optional limit. It distinguishes a missing argument from None, which a mapped task can pass.
NOT_GIVEN: Any = _NotGiven()


class Guard:
    """
    Descriptor for an optional limit of an operator, such as ``max_credits``. If the DAG file gives the limit, it must
    have a value at run time; the operator checks this with :meth:`is_given`.

    The attribute can be set several times, also by a subclass. The descriptor remembers whether it was set at all, and
    whether it was ever set to another value than None.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner, self._name = owner, name

    def __get__(self, task: Any, owner: type | None = None) -> Any:
        return self if task is None else vars(task).get(self._name)

    def __set__(self, task: Any, value: Any) -> None:
        if value is not NOT_GIVEN:
            had_value = vars(task).get("_had_value", {})
            vars(task)[self._name] = value
            vars(task)["_had_value"] = {**had_value, self._name: had_value.get(self._name) or value is not None}

    def is_given(self, task: Any) -> bool:
        """
        Return whether a DAG file gives the limit, even if its value is None when the task runs.

        None in the DAG file itself means that it is not given.

        :param task: Operator that runs in this worker.
        """
        had_value = vars(task).get("_had_value", {})
        return self._name in had_value and (had_value[self._name] or self._may_be_expanded(task))

    def _may_be_expanded(self, task: Any) -> bool:
        # A mapped task passes the arguments of expand() to __init__ with their values at run time.
        if not getattr(task, "_BaseOperator__from_mapped", False):
            return False
        dag = task.get_dag()
        mapped = None if dag is None else dag.task_dict.get(task.task_id)
        if self._name in getattr(mapped, "partial_kwargs", {}):
            return False
        values = getattr(getattr(mapped, "expand_input", None), "value", None)
        if isinstance(values, Mapping):
            values = [values]
        if not isinstance(values, list):  # the output of a task
            return True
        names = {name for each in values if isinstance(each, Mapping) for name in each}
        # A subclass may have an argument with another name, and pass its value on as the limit.
        return self._name in names or bool(names - _arguments(self._owner))


def _arguments(operator: type) -> set[str]:
    return {name for base in operator.__mro__ for name in inspect.signature(base.__init__).parameters}  # type: ignore[misc]
