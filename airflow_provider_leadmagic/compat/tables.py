"""Where Airflow stores the rendered template fields of a task (Airflow 3.1+)."""

from __future__ import annotations

from typing import Any

from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance


def are_fields_of_task() -> Any:
    """Return the condition that joins the rendered fields and their task instances."""
    fields: Any = RenderedTaskInstanceFields
    if hasattr(fields, "task_instance_id"):  # since 3.4, which has a row for each attempt
        return fields.task_instance_id == TaskInstance.id
    return (
        (fields.dag_id == TaskInstance.dag_id)
        & (fields.run_id == TaskInstance.run_id)
        & (fields.task_id == TaskInstance.task_id)
        & (fields.map_index == TaskInstance.map_index)
    )
