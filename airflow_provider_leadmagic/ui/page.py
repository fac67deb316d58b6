"""Collect what the page shows about one connection, as values and texts for the template."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from airflow.models.connection import Connection
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_provider_leadmagic.api.models import CreditsRunway, rounded_down
from airflow_provider_leadmagic.api.text import format_credits
from airflow_provider_leadmagic.claims.overview import Holding, PoolOverview, account_of, task_name
from airflow_provider_leadmagic.claims.pool import VARIABLE_PREFIX
from airflow_provider_leadmagic.compat.auth import readable_dags
from airflow_provider_leadmagic.compat.metadata import ReadVariables, ask_database
from airflow_provider_leadmagic.decisions.ledger import Ledger
from airflow_provider_leadmagic.exceptions import ClaimsError, LeadMagicResponseError
from airflow_provider_leadmagic.ui.burn import burn_chart, spending_by_day, spending_by_product, total_spending
from airflow_provider_leadmagic.ui.readings import DAYS, Reading, readings_of
from airflow_provider_leadmagic.ui.tasks import spending_by_task, spending_records, waiting_tasks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.orm import Session

    from airflow_provider_leadmagic.api.jobs import BulkJob
    from airflow_provider_leadmagic.api.models import CreditBalance
    from airflow_provider_leadmagic.compat.metadata import TaskKey
    from airflow_provider_leadmagic.ui.tasks import Spending, WaitingTask, WaitingTasks

_CONNECTION_TYPE = "leadmagic"
_CONNECTION_PREFIX = "AIRFLOW_CONN_"
_MISSING = Reading(None, None, 0.0)


class Accounts(NamedTuple):
    """
    What Airflow's database knows about all connections.

    :param conn_ids: Connections of the type LeadMagic, and those that tasks use.
    :param waiting: The waiting tasks.
    :param records: Result of :func:`~airflow_provider_leadmagic.ui.tasks.spending_records`.
    """

    conn_ids: set[str]
    waiting: WaitingTasks
    records: Sequence[tuple[str, str, dict[str, Any]]]

    @classmethod
    def read(cls, listed: set[str]) -> Self:
        """
        Query the database.

        :param listed: Result of :func:`listed_connections`.
        """
        with create_session() as session:
            waiting, records = waiting_tasks(session), spending_records(session, DAYS)
        # A connection in a secrets backend is not listed anywhere: only tasks that wait or have spent credits name it.
        used = {task.conn_id for task in waiting.tasks} | {record["conn_id"] for _, _, record in records}
        return cls(listed | {name for name in used if not _is_of_a_team(name)}, waiting, records)


def listed_connections() -> set[str]:
    """Return the connections of the type LeadMagic in Airflow's database and in environment variables."""
    with create_session() as session:
        return {*_stored_connections(session), *_connections_in_environment()}


def _stored_connections(session: Session) -> list[str]:
    return list(session.scalars(select(Connection.conn_id).where(Connection.conn_type == _CONNECTION_TYPE)))


def _connections_in_environment() -> list[str]:
    # These names contain the connection ID in upper case. By Airflow's convention, the ID itself is in lower case.
    names = (
        name.removeprefix(_CONNECTION_PREFIX).lower()
        for name, value in os.environ.items()
        if name.startswith(_CONNECTION_PREFIX) and (value.startswith("leadmagic:") or f'"{_CONNECTION_TYPE}"' in value)
    )
    return [name for name in names if not _is_of_a_team(name)]


def _is_of_a_team(conn_id: str) -> bool:
    # The variable AIRFLOW_CONN__TEAM___ID (Airflow 3.2+) is for tasks of the team only.
    return conn_id.startswith("_") and "___" in conn_id


class WaitingRow(NamedTuple):
    """
    A waiting task, compared with the balance.

    :param task: The task.
    :param short: Credits that are missing. None if the balance or ``task.required`` is None, or if the task claims
        credits: then what it lacks also depends on the claims of other tasks.
    """

    task: WaitingTask
    short: Decimal | None


def describe_account(accounts: Accounts, conn_id: str, user: Any) -> dict[str, Any]:
    """
    Return the values for the template.

    :param accounts: All connections.
    :param conn_id: The connection to describe. The user may read it.
    :param user: The user, who sees only DAGs that they may read.
    """
    readings = readings_of(conn_id)
    spending = spending_by_task(accounts.records, conn_id)
    waiting = [task for task in accounts.waiting.tasks if task.conn_id == conn_id]
    visible = readable_dags(user, {task.key.dag_id for task in waiting} | {total.dag_id for total in spending})
    waiting = [task for task in waiting if task.key.dag_id in visible]
    balance: CreditBalance | None = readings.get("balance", _MISSING).value
    errors = [reading.error for reading in readings.values() if reading.error]
    pools = _pools(conn_id, balance, user, errors)
    queued = {entry.claim.task for overview, _ in pools for entry in overview.waiting}
    return {
        "pools": pools,
        "may_have_more": accounts.waiting.may_have_more,
        "conn_id": conn_id,
        "now": datetime.now(UTC),
        "balance": balance,
        "read_at": {name: datetime.fromtimestamp(reading.read_at, UTC) for name, reading in readings.items()},
        "errors": _distinct(errors),
        "waiting": [_compare(task, None if task.key in queued else balance) for task in waiting],
        "products": spending_by_product(readings.get("products", _MISSING).value),
        "jobs": _match(readings.get("jobs", _MISSING).value, waiting),
        "spending": (visible_spending := [total for total in spending if total.dag_id in visible]),
        **_describe_usage(readings.get("usage", _MISSING).value, balance, visible_spending),
    }


def _distinct(errors: Sequence[str]) -> list[str]:
    """Return one error for each cause: while LeadMagic is down, every request fails for the same reason."""
    by_cause: dict[str, str] = {}
    for error in errors:
        by_cause.setdefault(error.partition(" [")[0], error)
    return list(by_cause.values())


def _compare(task: WaitingTask, balance: CreditBalance | None) -> WaitingRow:
    if balance is None or task.required is None:
        return WaitingRow(task, None)
    return WaitingRow(task, max(task.required - balance.spendable, Decimal(0)))


class ClaimRow(NamedTuple):
    """
    A claim, or a task that waits for one.

    :param key: The task.
    :param credits: Credits that the task holds or waits for.
    :param since: When the credits were granted, or when the task began to wait.
    :param status: When the claim ends, or why the task has no credits yet.
    """

    key: TaskKey
    credits: Decimal
    since: datetime
    status: str


def _claim_rows(overview: PoolOverview) -> list[ClaimRow]:
    held = [(entry.claim, entry.since, _status(entry)) for entry in overview.holding]
    waiting = [(entry.claim, entry.claim.since, f"waits: {entry.reason}") for entry in overview.waiting]
    return [
        ClaimRow(claim.task, claim.credits, datetime.fromtimestamp(since, UTC), status)
        for claim, since, status in (*held, *waiting)
    ]


def _status(holding: Holding) -> str:
    return holding.until if holding.settles_in > 0 else f"holds until {holding.until}"


def _pools(
    conn_id: str, balance: CreditBalance | None, user: Any, errors: list[str]
) -> list[tuple[PoolOverview, list[ClaimRow]]]:
    """
    Return the claim pools of a connection, each with the claims of the DAGs that the user may read.

    Appends an error for each pool whose claims cannot be read.
    """
    pools = []
    for key, text in ask_database(ReadVariables(VARIABLE_PREFIX)).items():
        try:
            ledger = Ledger.from_text(text, key)
        except ClaimsError:
            # The error quotes the text, and the key names the pool: both may be of DAGs that the user may not read.
            errors.append("Cannot read the claims of a pool: run `python -m airflow_provider_leadmagic claims`.")
            continue
        if account_of(ledger) == conn_id:
            overview = PoolOverview.read(ledger, conn_id, lambda _: balance)
            rows = _claim_rows(overview)
            visible = readable_dags(user, {row.key.dag_id for row in rows})
            pools.append((overview, [row for row in rows if row.key.dag_id in visible]))
    return pools


def _match(jobs: Sequence[BulkJob] | None, waiting: Sequence[WaitingTask]) -> list[tuple[BulkJob, str | None]] | None:
    """Return each job with the task that waits for it. The job's own name is not shown: it may reveal a DAG ID."""
    if jobs is None:
        return None
    tasks = {task.job_id: full_name(task.key) for task in waiting if task.job_id}
    return [(job, tasks.get(job.job_id)) for job in jobs]


def _describe_usage(
    usage: dict[str, Any] | None, balance: CreditBalance | None, spending: Sequence[Spending]
) -> dict[str, Any]:
    """Return the chart, the runway, and the part of the total that the tasks on the page did not spend."""
    runway = _runway(usage, balance)
    if usage is None:
        return {"chart": None, "days": [], "runway": None, "total": None, "elsewhere": None}
    days = spending_by_day(usage, datetime.now(UTC).date(), DAYS)
    total = total_spending(usage)
    runs_out = runway.runs_out_at.date() if runway and runway.runs_out_at else None
    return {
        "chart": None if total is None else burn_chart(days, total / DAYS, runs_out),
        "days": days,
        "runway": runway,
        "total": total,
        "elsewhere": None if total is None else _rest(total, spending),
    }


def _rest(total: Decimal, spending: Sequence[Spending]) -> Decimal:
    # Records can be newer than the total.
    return max(total - sum((each.credits for each in spending), Decimal(0)), Decimal(0))


def _runway(usage: dict[str, Any] | None, balance: CreditBalance | None) -> CreditsRunway | None:
    if usage is None or balance is None:
        return None
    try:
        return CreditsRunway.from_usage(balance, usage, DAYS)
    except LeadMagicResponseError:
        return None  # the form of the response is not documented


def full_name(key: TaskKey) -> str:
    """
    Return DAG, task and map index, such as ``leads.wait[2]``.

    :param key: The task.
    """
    return f"{key.dag_id}.{task_name(key.task_id, key.map_index)}"


def format_duration(seconds: float) -> str:
    """
    Format a duration with at most two units, such as ``3 h 12 min``.

    :param seconds: The duration.
    """
    minutes = int(max(seconds, 0)) // 60
    if minutes == 0:
        return f"{max(seconds, 0):.0f} s"
    hours, days = minutes // 60, minutes // 1440
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


#: Filters of the template.
FILTERS: Mapping[str, Any] = {
    "credits": lambda number: "–" if number is None else format_credits(number),
    "utc": lambda time: f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
    "duration": format_duration,
    "full_name": full_name,
    "one_decimal": lambda number: f"{rounded_down(number, 1):,.1f}",
}
