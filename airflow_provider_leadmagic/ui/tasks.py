"""
Find in Airflow's database the tasks that wait for credits or for a bulk job, and the credits that bulk tasks spent.

Every query is bounded.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskreschedule import TaskReschedule
from airflow.models.trigger import Trigger
from airflow.models.xcom import XComModel
from sqlalchemy import func, select

from airflow_provider_leadmagic.api.validation import number_or_none
from airflow_provider_leadmagic.compat.auth import are_fields_of_task
from airflow_provider_leadmagic.compat.metadata import TaskKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy.orm import Session

logger = logging.getLogger(__name__)

#: Maximum number of tasks that one query returns.
MAX_TASKS = 1000
#: Maximum number of spending records that are read.
MAX_RECORDS = 20_000
#: Key of the XCom in which a task records what it spent.
SPENDING_KEY = "leadmagic"
_TRIGGERS = "airflow_provider_leadmagic.triggers."
#: Reads the balance once and never waits.
_CHECK = "CheckCreditsOperator"
#: Operators whose tasks the query returns first, so that thousands of other running tasks do not push them past its
#: limit.
_WAITING = ("SufficientCreditsSensor", "BulkEnrichmentOperator")
#: Columns that identify a task instance.
_KEY = (TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index)


class WaitingTask(NamedTuple):
    """
    A task that waits for credits or for a bulk job.

    :param key: The task.
    :param conn_id: Connection ID.
    :param state: ``deferred``, ``up_for_reschedule`` or ``running``.
    :param required: Credits that it waits for. None if it waits for a bulk job or is a bulk task on a worker.
    :param since: Start of its current attempt; for a rescheduled sensor, of the first poll of this attempt.
    :param next_poll: Time of its next poll, if it is rescheduled or a ``Retry-After`` delays its poll; otherwise None.
    :param interval: Seconds between its polls; None if unknown.
    :param job_id: The bulk job.
    """

    key: TaskKey
    conn_id: str
    state: str
    required: Decimal | None
    since: datetime | None
    next_poll: datetime | None = None
    interval: float | None = None
    job_id: str | None = None


class WaitingTasks(NamedTuple):
    """
    The waiting tasks of all connections.

    :param tasks: The tasks that were found, the longest waiting first.
    :param may_have_more: Whether a query returned ``MAX_TASKS`` rows, its limit. Rows of other tasks count too: they
        may have pushed waiting tasks past the limit.
    """

    tasks: Sequence[WaitingTask]
    may_have_more: bool


def waiting_tasks(session: Session) -> WaitingTasks:
    """
    Find the waiting tasks of all connections.

    :param session: Session of Airflow's database.
    """
    deferred, on_workers = _deferred_rows(session), _rows_on_workers(session)
    tasks = [*_deferred_tasks(deferred), *_tasks_on_workers(session, on_workers)]
    tasks.sort(key=lambda task: task.since or datetime.now(UTC))
    return WaitingTasks(tasks, max(len(deferred), len(on_workers)) >= MAX_TASKS)


def _deferred_rows(session: Session) -> Sequence[Any]:
    return session.execute(
        select(*_KEY, TaskInstance.start_date, Trigger)
        .join(Trigger, Trigger.id == TaskInstance.trigger_id)
        .where(TaskInstance.state == "deferred", Trigger.classpath.startswith(_TRIGGERS, autoescape=True))
        .order_by(TaskInstance.start_date)
        .limit(MAX_TASKS)
    ).all()


def _deferred_tasks(rows: Sequence[Any]) -> Iterator[WaitingTask]:
    for dag_id, run_id, task_id, map_index, start_date, trigger in rows:
        arguments = _arguments_of(trigger)
        if "leadmagic_conn_id" not in arguments:
            continue
        yield WaitingTask(
            TaskKey(dag_id, run_id, task_id, map_index),
            str(arguments["leadmagic_conn_id"]),
            "deferred",
            number_or_none(arguments.get("minimum_credits")),
            start_date,
            next_poll=_in_future(arguments.get("not_before")),
            interval=arguments.get("poke_interval") or arguments.get("poll_interval"),
            job_id=arguments.get("job_id"),
        )


def _in_future(seconds: float | None) -> datetime | None:
    moment = datetime.fromtimestamp(seconds or 0.0, UTC)
    return moment if moment > datetime.now(UTC) else None


def _arguments_of(trigger: Trigger) -> dict[str, Any]:
    """Return the arguments of a trigger; none if they were encrypted with a Fernet key that Airflow no longer has."""
    try:
        return trigger.kwargs
    except Exception as error:
        logger.warning("Cannot read the arguments of trigger %s: %s", trigger.id, type(error).__name__)
        return {}


def _rows_on_workers(session: Session) -> Sequence[Any]:
    fields = RenderedTaskInstanceFields
    return session.execute(
        select(*_KEY, TaskInstance.id, TaskInstance.state, TaskInstance.start_date, fields.rendered_fields)
        .join(fields, are_fields_of_task())
        .where(TaskInstance.state.in_(("running", "up_for_reschedule")), TaskInstance.operator != _CHECK)
        .order_by(TaskInstance.operator.not_in(_WAITING), TaskInstance.start_date)
        .limit(MAX_TASKS)
    ).all()


def _tasks_on_workers(session: Session, rows: Sequence[Any]) -> Iterator[WaitingTask]:
    # Subclasses of the sensor and the operator have other names, but the same template fields.
    ours = [row for row in rows if "leadmagic_conn_id" in row.rendered_fields]
    first_starts, next_polls = _reschedules(session, [row.id for row in ours])
    for row in ours:
        yield WaitingTask(
            TaskKey(*row[:4]),
            str(row.rendered_fields["leadmagic_conn_id"]),
            str(row.state),
            number_or_none(row.rendered_fields.get("minimum_credits")),
            first_starts.get(row.id, row.start_date),
            next_poll=next_polls.get(row.id) if row.state == "up_for_reschedule" else None,
        )


def _reschedules(session: Session, ids: list[Any]) -> tuple[Mapping[Any, datetime], Mapping[Any, datetime]]:
    """Return the first start and the next poll of rescheduled task instances."""
    rows = session.execute(
        select(TaskReschedule.ti_id, func.min(TaskReschedule.start_date), func.max(TaskReschedule.reschedule_date))
        .where(TaskReschedule.ti_id.in_(ids))
        .group_by(TaskReschedule.ti_id)
    ).all()
    return {row[0]: row[1] for row in rows}, {row[0]: row[2] for row in rows}


class Spending(NamedTuple):
    """
    What the runs of one task spent.

    :param dag_id: DAG ID.
    :param task_id: Task ID.
    :param credits: Sum of the credits.
    :param jobs: Number of bulk jobs whose task succeeded.
    """

    dag_id: str
    task_id: str
    credits: Decimal
    jobs: int


def spending_records(session: Session, days: int) -> list[tuple[str, str, dict[str, Any]]]:
    """
    Return DAG ID, task ID and spending record of each bulk task that succeeded within a window, on any connection.

    If there are more than ``MAX_RECORDS``, only the newest are returned.

    :param session: Session of Airflow's database.
    :param days: Length of the window, which ends now.
    """
    rows = session.execute(
        select(XComModel.dag_id, XComModel.task_id, XComModel.value)
        .where(XComModel.key == SPENDING_KEY, XComModel.timestamp >= datetime.now(UTC) - timedelta(days=days))
        .order_by(XComModel.timestamp.desc())
        .limit(MAX_RECORDS)
    )
    records = ((dag_id, task_id, _record_of(value)) for dag_id, task_id, value in rows)
    return [(dag_id, task_id, record) for dag_id, task_id, record in records if record]


def _record_of(value: Any) -> dict[str, Any] | None:
    # Airflow's own method would import classes that an XCom names, and fail for those that are not allowed.
    try:
        record = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("conn_id"), str) else None


def spending_by_task(records: Iterable[tuple[str, str, dict[str, Any]]], conn_id: str) -> list[Spending]:
    """
    Add up the records of one connection by task, the highest spending first.

    :param records: Result of :func:`spending_records`.
    :param conn_id: Connection ID.
    """
    credits: dict[tuple[str, str], list[Decimal]] = defaultdict(list)
    for dag_id, task_id, record in records:
        if record.get("conn_id") == conn_id:
            credits[dag_id, task_id].append(number_or_none(record.get("credits")) or Decimal(0))
    totals = [Spending(*task, sum(amounts, Decimal(0)), len(amounts)) for task, amounts in credits.items()]
    return sorted(totals, key=lambda total: (-total.credits, total.dag_id, total.task_id))
