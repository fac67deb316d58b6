"""Command ``claims``. It also checks the pools, whose settings a task cannot read on Airflow 3."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from rich import box
from rich.table import Table

from airflow_provider_leadmagic.api.text import format_credits, json_number
from airflow_provider_leadmagic.api.validation import check_text
from airflow_provider_leadmagic.claims.overview import PoolOverview, task_name
from airflow_provider_leadmagic.claims.pool import VARIABLE_PREFIX, variable_key
from airflow_provider_leadmagic.cli.common import (
    EXIT_FAILED,
    MAX_ATTEMPTS,
    command,
    describe_failure,
    fail,
    print_error,
    write,
    write_json,
)
from airflow_provider_leadmagic.compat.metadata import ReadPool, ReadVariable, ReadVariables, ask_database
from airflow_provider_leadmagic.decisions.ledger import Ledger
from airflow_provider_leadmagic.exceptions import ClaimsError
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable, Iterator, Sequence
    from decimal import Decimal

    from rich.console import RenderableType

    from airflow_provider_leadmagic.api.models import CreditBalance
    from airflow_provider_leadmagic.claims.overview import Holding, Waiting
    from airflow_provider_leadmagic.compat.metadata import TaskKey

EXIT_POOL_PROBLEM = 1
_HOLDING_TITLES = ("Holds credits", "Credits", "Since (UTC)", "Until")
_WAITING_TITLES = ("Waits for credits", "Credits", "Priority", "Since (UTC)", "Why not yet")


@command
def claims(options: Namespace) -> int:
    """
    Show which tasks hold credits of each claim pool and which wait for them.

    :param options: Parsed arguments.
    :return: Exit code: 0, 1 if a pool has wrong settings, 2 if claims or a balance cannot be read.
    """
    ledgers, errors = _read_ledgers(options.pool)
    pools = [_PoolView.read(ledger, options.conn_id) for ledger in ledgers]
    if options.output == "json":
        write_json({"pools": [pool.report() for pool in pools]})
    elif pools:
        parts = [part for pool in pools for part in ("", *pool.render())]
        write(*parts[1:])
    elif not errors:
        write("No claims: no task with claim_pool has polled yet.")
    problems = [problem for pool in pools for problem in pool.problems]
    errors += [pool.error for pool in pools if pool.error]
    for line in (*problems, *errors):
        print_error(line)
    return EXIT_FAILED if errors else EXIT_POOL_PROBLEM if problems else 0


def _read_ledgers(pool: str | None) -> tuple[list[Ledger], list[str]]:
    """Return the ledger of a pool, or all ledgers if it is None, and the errors of those that cannot be read."""
    texts: dict[str, str | None]
    if pool is None:
        texts = {**ask_database(ReadVariables(VARIABLE_PREFIX))}
    else:
        _check_pool_name(pool)
        texts = {(key := variable_key(pool)): ask_database(ReadVariable(key))}
    ledgers, errors = [], []
    for key, text in texts.items():
        try:
            ledgers.append(Ledger(pool=pool or "") if text is None else Ledger.from_text(text, key))
        except ClaimsError as error:
            errors.append(str(error))
    return ledgers, errors


class _PoolView(NamedTuple):
    """
    The claims and settings of one pool.

    :param overview: The claims.
    :param problems: Wrong settings of the pool.
    :param error: Why the balance could not be read.
    """

    overview: PoolOverview
    problems: Sequence[str]
    error: str | None

    @classmethod
    def read(cls, ledger: Ledger, conn_id: str | None) -> _PoolView:
        """
        Read the claims, the balance, and the settings of the pool.

        :param ledger: The ledger of the pool.
        :param conn_id: Connection to use; None for the connection of the latest claim.
        """
        errors: list[str] = []
        overview = PoolOverview.read(ledger, conn_id, partial(_read_balance, errors))
        return cls(overview, list(_problems(ledger.pool)), next(iter(errors), None))

    def report(self) -> dict[str, Any]:
        shown = self.overview
        return {
            "pool": shown.pool,
            "conn_id": shown.conn_id,
            "spendable": None if shown.balance is None else json_number(shown.balance.spendable),
            "claimed": json_number(shown.claimed),
            "available": None if shown.available is None else json_number(shown.available),
            "holding": [_report_holding(holding) for holding in shown.holding],
            "waiting": [_report_waiting(waiting) for waiting in shown.waiting],
            "problems": list(self.problems),
        }

    def render(self) -> Iterator[RenderableType]:
        yield f"Pool {self.overview.pool!r}: {self._totals()}."
        if self.overview.holding:
            yield ""
            yield _table(_HOLDING_TITLES, map(_holding_cells, self.overview.holding))
        if self.overview.waiting:
            yield ""
            yield _table(_WAITING_TITLES, map(_waiting_cells, self.overview.waiting))

    def _totals(self) -> str:
        shown = self.overview
        claimed = f"{format_credits(shown.claimed)} claimed"
        if shown.balance is None or shown.available is None:
            return f"{claimed}, balance unknown"
        spendable = f"{format_credits(shown.balance.spendable)} spendable"
        if shown.balance.is_frozen:
            spendable += " (account frozen by LeadMagic)"
        return f"{spendable}, {claimed}, {format_credits(shown.available)} available on connection {shown.conn_id!r}"


def _report_holding(holding: Holding) -> dict[str, Any]:
    return {
        **_report(holding.claim.task, holding.claim.credits),
        "since": _iso(holding.since),
        "release_after": holding.release_after,
        "settles_in": round(holding.settles_in, 1) if holding.settles_in > 0 else None,
        "until": holding.until,
    }


def _holding_cells(holding: Holding) -> list[str]:
    claim = holding.claim
    return [_task_and_run(claim.task), format_credits(claim.credits), _time(holding.since), holding.until]


def _report_waiting(waiting: Waiting) -> dict[str, Any]:
    claim, standing = waiting.claim, waiting.standing
    return {
        **_report(claim.task, claim.credits),
        "reserve": json_number(claim.reserve),
        "priority": claim.priority,
        "since": _iso(claim.since),
        "state": waiting.state,
        "status": waiting.status,
        "short": None if standing is None else json_number(waiting.short),
        "ahead": None if standing is None else standing.ahead,
        "reason": waiting.reason,
    }


def _waiting_cells(waiting: Waiting) -> list[str]:
    claim = waiting.claim
    reserve = f"\n+{format_credits(claim.reserve)} reserve" if claim.reserve else ""
    credits = f"{format_credits(claim.credits)}{reserve}"
    return [_task_and_run(claim.task), credits, str(claim.priority), _time(claim.since), waiting.reason]


def _check_pool_name(pool: str) -> None:
    try:
        check_text("--pool", pool)
    except ValueError as error:
        fail(str(error))


def _read_balance(errors: list[str], conn_id: str) -> CreditBalance | None:
    """Return the balance, or append the reason why it cannot be read."""
    try:
        return LeadMagicHook(conn_id, max_attempts=MAX_ATTEMPTS).get_credits()
    except Exception as error:
        errors.append(describe_failure(error, conn_id))
        return None


def _problems(pool: str) -> Iterator[str]:
    settings = ask_database(ReadPool(pool))
    description = (settings and settings.description) or "LeadMagic claims"
    fix = f"run `{shlex.join(['airflow', 'pools', 'set', pool, '1', description])}`"
    if settings is None:
        yield f"Pool {pool!r} does not exist, so Airflow never starts its tasks: {fix}."
        return
    if settings.slots != 1:
        yield f"Pool {pool!r} must have exactly 1 slot, not {settings.slots}: {fix}."
    if settings.includes_deferred:
        yield f"Pool {pool!r} must not include deferred tasks: {fix}."


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    for title in titles:
        table.add_column(title, justify="right" if title in ("Credits", "Priority") else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _report(task: TaskKey, credits: Decimal) -> dict[str, Any]:
    return {**task._asdict(), "credits": json_number(credits)}


def _task_and_run(task: TaskKey) -> str:
    return f"{task.dag_id}.{task_name(task.task_id, task.map_index)}\n{task.run_id}"


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d\n%H:%M}"


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
