"""
Import the names that moved between Airflow versions. The rest of this package imports them from here only.

Each name is resolved when it is first imported from here, so that a DAG file loads only what it uses. The table below
lists the modules of each name, newest first. Airflow 2.11 has no ``airflow.sdk`` at all. Airflow 3.0 and 3.1 have
``airflow.sdk.exceptions``, but not these exceptions in it.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from airflow.sdk import BaseHook as BaseHook
    from airflow.sdk import BaseOperator as BaseOperator
    from airflow.sdk import BaseOperatorLink as BaseOperatorLink
    from airflow.sdk import BaseSensorOperator as BaseSensorOperator
    from airflow.sdk import Connection as Connection
    from airflow.sdk import Context as Context
    from airflow.sdk import ObjectStoragePath as ObjectStoragePath
    from airflow.sdk import PokeReturnValue as PokeReturnValue
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
    # name                       since 3.2                         3.0 and 3.1            2.11
    "AirflowFailException": ("airflow.sdk.exceptions", "airflow.exceptions"),
    "AirflowNotFoundException": ("airflow.sdk.exceptions", "airflow.exceptions"),
    "AirflowRescheduleException": ("airflow.sdk.exceptions", "airflow.exceptions"),
    "AirflowSensorTimeout": ("airflow.sdk.exceptions", "airflow.exceptions"),
    "AirflowSkipException": ("airflow.sdk.exceptions", "airflow.exceptions"),
    "Stats": ("airflow.sdk.observability.stats", "airflow.observability.stats", "airflow.stats"),
    "conf": ("airflow.sdk.configuration", "airflow.configuration"),
    # since 3.0                                                                           2.11
    "BaseEventTrigger": ("airflow.triggers.base",),
    "BaseHook": ("airflow.sdk", "airflow.hooks.base"),
    "BaseOperator": ("airflow.sdk", "airflow.models.baseoperator"),
    "BaseOperatorLink": ("airflow.sdk", "airflow.models.baseoperatorlink"),
    "BaseSensorOperator": ("airflow.sdk", "airflow.sensors.base"),
    "Connection": ("airflow.sdk", "airflow.models.connection"),
    "Context": ("airflow.sdk", "airflow.utils.context"),
    "ObjectStoragePath": ("airflow.sdk", "airflow.io.path"),
    "PokeReturnValue": ("airflow.sdk", "airflow.sensors.base"),
    "context_merge": ("airflow.sdk.definitions.context", "airflow.utils.context"),
}

#: Copy of Airflow's constant. Since 3.0 it can be imported only from ``airflow.models``, which takes longer to import
#: than this whole package, each time a DAG file is parsed.
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


async def get_async_connection(hook: type[BaseHook], conn_id: str) -> Connection:
    """
    Read a connection without blocking the event loop.

    Since Airflow 3.3.2 ``aget_connection`` can be used. Before, it is missing (2.11, 3.0), or it masks the secrets of
    the connection with a blocking call, which on 3.1 hangs the triggerer. There, the synchronous call runs in a thread,
    which must be one of asgiref: from any other, Airflow does not find the event loop that talks to its supervisor.

    :param hook: Hook class that reads the connection.
    :param conn_id: Connection to read.
    :raises AirflowNotFoundException: If the connection does not exist.
    """
    from airflow_provider_leadmagic.compat.imports import Connection

    if hasattr(Connection, "aextra_dejson"):  # added together with the non-blocking masking
        return await hook.aget_connection(conn_id)
    from asgiref.sync import sync_to_async

    return await sync_to_async(hook.get_connection)(conn_id)


def path_text(path: Any) -> Any:
    """
    Convert a path object to a string, and return any other value unchanged.

    Airflow 3.0 and 3.1 mistake a path object in a template field for the output of a task, because both have a method
    ``resolve``.

    :param path: Value for a template field.
    """
    is_path = isinstance(path, os.PathLike) or hasattr(path, "storage_options")
    return str(path) if is_path else path
