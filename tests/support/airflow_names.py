"""Airflow names that only the tests need, imported from the module that has them in the installed version."""

from __future__ import annotations

from importlib.util import find_spec

try:
    from airflow.sdk import DAG, BaseNotifier, dag, task
except ModuleNotFoundError:  # Airflow 2.11
    from airflow import DAG
    from airflow.decorators import dag, task
    from airflow.notifications.basenotifier import BaseNotifier

try:
    from airflow.sdk import Asset, AssetAlias
    from airflow.sdk.execution_time.context import OutletEventAccessors, set_current_context
except ModuleNotFoundError:  # Airflow 2.11
    from airflow.datasets import Dataset as Asset
    from airflow.datasets import DatasetAlias as AssetAlias
    from airflow.models.taskinstance import set_current_context
    from airflow.utils.context import OutletEventAccessors

try:
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:  # Airflow before 3.2
    from airflow.exceptions import TaskDeferred

HAS_OPENLINEAGE = find_spec("airflow.providers.openlineage") is not None

__all__ = [
    "DAG",
    "HAS_OPENLINEAGE",
    "Asset",
    "AssetAlias",
    "BaseNotifier",
    "OutletEventAccessors",
    "TaskDeferred",
    "dag",
    "set_current_context",
    "task",
]
