"""Airflow names that only the tests need, imported from the module that has them in the installed version."""

from __future__ import annotations

try:
    from airflow.sdk import DAG, BaseNotifier, dag, task
except ModuleNotFoundError:  # Airflow 2.11
    from airflow import DAG
    from airflow.decorators import dag, task
    from airflow.notifications.basenotifier import BaseNotifier

try:
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:  # Airflow before 3.2
    from airflow.exceptions import TaskDeferred

__all__ = ["DAG", "BaseNotifier", "TaskDeferred", "dag", "task"]
