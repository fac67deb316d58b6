"""Rows of Airflow's database for tasks that wait or have spent credits, as Airflow 3.1+ stores them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.models.dagrun import DagRun
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskreschedule import TaskReschedule
from airflow.models.trigger import Trigger
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import delete, insert, select

from airflow_provider_leadmagic.triggers.bulk import BulkJobTrigger
from airflow_provider_leadmagic.triggers.credits import SufficientCreditsTrigger
from tests.support.stored_rows import XCOMS, insert_rendered, insert_xcoms

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

#: Deleted in this order.
_TABLES = (XCOMS, TaskReschedule, RenderedTaskInstanceFields, TaskInstance, Trigger, DagRun)


def clear() -> None:
    """Delete all tasks and runs."""
    with create_session() as session:
        for model in _TABLES:
            session.execute(delete(model.__table__))


def ago(minutes: float) -> datetime:
    """Return the time some minutes ago."""
    return datetime.now(UTC) - timedelta(minutes=minutes)


def waits_for_credits(
    conn_id: str = "leadmagic_default", credits: str = "500", interval: float = 300, not_before: float = 0.0
) -> BaseTrigger:
    """Return the trigger of a sensor that waits."""
    return SufficientCreditsTrigger(conn_id, credits, interval, not_before=not_before, waiting_since=0.0)


def waits_for_job(job_id: str, conn_id: str = "leadmagic_default") -> BaseTrigger:
    """Return the trigger of a bulk task whose job is under way."""
    return BulkJobTrigger(conn_id, job_id, 60, deadline=0.0, report_pause=False, not_before=0.0, waiting_since=0.0)


def add_task(
    dag_id: str,
    state: str,
    *,
    trigger: BaseTrigger | None = None,
    rendered: dict[str, Any] | None = None,
    since: datetime | None = None,
    operator: str = "SufficientCreditsSensor",
    map_index: int = -1,
) -> Any:
    """
    Add the task ``wait`` in a run of its own of a DAG, and return its primary key.

    :param trigger: What the task waits for in the triggerer.
    :param rendered: Rendered template fields.
    :param since: Start of the task, now by default.
    """
    key = {"dag_id": dag_id, "run_id": f"run_{datetime.now(UTC).timestamp()}", "task_id": "wait"}
    key["map_index"] = map_index  # type: ignore[assignment]
    with create_session() as session:
        session.add(DagRun(dag_id=dag_id, run_id=key["run_id"], run_type="manual", state="running"))
        stored = None if trigger is None else Trigger.from_object(trigger)
        if stored:
            session.add(stored)
        session.flush()
        fields = {"state": state, "operator": operator, "start_date": since or ago(0), "pool": "default_pool"}
        fields |= {"pool_slots": 1, "trigger_id": stored and stored.id}
        session.execute(insert(TaskInstance).values(**key, **fields))
        task_instance_id = session.scalar(select(TaskInstance.id).where(TaskInstance.run_id == key["run_id"]))
        if rendered is not None:
            insert_rendered(session, [(task_instance_id, key)], rendered)
        return task_instance_id


def add_reschedule(task_instance_id: Any, start: datetime, next_poll: datetime) -> None:
    """Add a reschedule of a task."""
    with create_session() as session:
        times = {"start_date": start, "end_date": start, "duration": 0, "reschedule_date": next_poll}
        session.execute(insert(TaskReschedule).values(ti_id=task_instance_id, **times))


def add_spending(dag_id: str, *, key: str = "leadmagic", at: datetime | None = None, **record: Any) -> None:
    """Add a task that has finished, with the record of what it spent on ``leadmagic_default``."""
    task_instance_id = add_task(dag_id, "success", operator="BulkEnrichmentOperator")
    with create_session() as session:
        found = session.get(TaskInstance, task_instance_id)
        run = session.scalar(select(DagRun).where(DagRun.run_id == found.run_id))
        value = {"conn_id": "leadmagic_default", "product": "email_finder", "job_id": "j", "credits": 5, **record}
        names = {"dag_id": dag_id, "run_id": found.run_id, "task_id": found.task_id, "map_index": -1}
        fields = {"key": key, "value": XComModel.serialize_value(value), "timestamp": at or ago(0)}
        insert_xcoms(session, [(task_instance_id, names)], run.id, fields)
