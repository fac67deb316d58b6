"""
Names of Airflow that moved between its versions. Nothing else in this package imports them from Airflow itself.

Each name is looked up when it is first imported from here, so that a DAG file loads only what it uses. The table below
lists where a name is found, newest place first. Airflow 2.11 has no ``airflow.sdk`` at all. Airflow 3.0 and 3.1 have
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

#: Airflow's own constant. Since 3.0 it is reached only by way of ``airflow.models``, whose import takes longer than
#: that of this whole package, and would be part of every DAG parse.
XCOM_RETURN_KEY = "return_value"


class Log(Protocol):
    """The methods used of a logger: those of the standard library and of Airflow's tasks agree on them."""

    def info(self, message: str, /, *args: object) -> object: ...
    def warning(self, message: str, /, *args: object) -> object: ...
    def error(self, message: str, /, *args: object) -> object: ...
    def exception(self, message: str, /, *args: object) -> object: ...


def __getattr__(name: str) -> Any:
    """Find a name of the table in this Airflow, and keep it."""
    for place in _SOURCES.get(name, ()):
        try:
            found = getattr(importlib.import_module(place), name)
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

    Since Airflow 3.3.2 ``aget_connection`` can be awaited. Before, it is missing (2.11, 3.0) or masks the connection's
    secrets by a call that blocks, and on 3.1 hangs, the triggerer. There the synchronous call runs in a thread, which
    has to be asgiref's: only that one finds the way back to the event loop that talks to Airflow's supervisor.

    :param hook: The class of hook to read it by.
    :param conn_id: The connection.
    :raises AirflowNotFoundException: If there is no such connection.
    """
    from airflow_provider_leadmagic.compat.imports import Connection

    if hasattr(Connection, "aextra_dejson"):  # came with the masking that does not block
        return await hook.aget_connection(conn_id)
    from asgiref.sync import sync_to_async

    return await sync_to_async(hook.get_connection)(conn_id)


def path_text(path: Any) -> Any:
    """
    Turn a path object into text, and return anything else as it is.

    Airflow 3.0 and 3.1 take a path object in a template field for the output of a task, as it has a method ``resolve``.

    :param path: A value for a template field.
    """
    is_path = isinstance(path, os.PathLike) or hasattr(path, "storage_options")
    return str(path) if is_path else path
