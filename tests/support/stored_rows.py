"""Rendered fields and XComs, which Airflow 3.4 stores by the key of the task instance."""

from __future__ import annotations

from typing import Any

from airflow.models import xcom
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from sqlalchemy import insert

#: Airflow 3.4 reads both tables, and writes this one.
XCOMS: Any = getattr(xcom, "XComModelV2", xcom.XComModel)
_BY_ATTEMPT = hasattr(RenderedTaskInstanceFields, "task_instance_id")


def insert_rendered(session: Any, tasks: list[tuple[Any, dict[str, Any]]], fields: dict[str, Any]) -> None:
    """
    Store the rendered fields of task instances.

    :param tasks: Primary key, and the columns that name the task instance.
    """
    rows = [{**_owner(id_, names), "rendered_fields": fields} for id_, names in tasks]
    session.execute(insert(RenderedTaskInstanceFields), rows)


def insert_xcoms(session: Any, tasks: list[tuple[Any, dict[str, Any]]], run_key: int, row: dict[str, Any]) -> None:
    """
    Store the same XCom of task instances.

    :param tasks: Primary key, and the columns that name the task instance.
    :param run_key: Primary key of the run.
    """
    of_run = {} if _BY_ATTEMPT else {"dag_run_id": run_key}
    session.execute(insert(XCOMS), [{**_owner(id_, names), **of_run, **row} for id_, names in tasks])


def _owner(id_: Any, names: dict[str, Any]) -> dict[str, Any]:
    return {"task_instance_id": id_} if _BY_ATTEMPT else names
