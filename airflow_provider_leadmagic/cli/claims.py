"""Command ``claims``. It also checks the pools, whose settings a task cannot read on Airflow 3."""

from __future__ import annotations

import shlex
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from rich import box
from rich.table import Table

from airflow_provider_leadmagic.api.text import format_credits, json_number
from airflow_provider_leadmagic.api.validation import check_text
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
from airflow_provider_leadmagic.decisions.claims import (
    IN_A_SLOT,
    Survey,
    complete,
    held_claims,
    observe,
    queue,
    standings,
    survey,
)
from airflow_provider_leadmagic.decisions.gate import format_seconds
from airflow_provider_leadmagic.decisions.ledger import Ledger
from airflow_provider_leadmagic.exceptions import ClaimsError
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from airflow_provider_leadmagic.api.models import CreditBalance
    from airflow_provider_leadmagic.compat.metadata import TaskKey
    from airflow_provider_leadmagic.decisions.claims import Standing
    from airflow_provider_leadmagic.decisions.ledger import Claim

EXIT_POOL_PROBLEM = 1
#: Reason to show for a task that can be granted its credits, by task state. In all other states it waits for the slot.
_GRANTABLE = dict.fromkeys(("deferred", "up_for_reschedule"), "can be granted at its next poll")
_GRANTABLE |= dict.fromkeys(IN_A_SLOT, "decides now")


@command
def claims(options: Namespace) -> int:
    """
    Show which tasks hold credits of each claim pool and which wait for them.

    :param options: Parsed arguments.
    :return: Exit code: 1 if a pool has wrong settings, 2 if claims or a balance cannot be read.
    """
    ledgers, errors = _read_ledgers(options.pool)
    pools = [_PoolView.read(ledger, options.conn_id) for ledger in ledgers]
    if options.output == "json":
        write_json({"pools": [pool.report() for pool in pools]})
    else:
        parts = [part for pool in pools for part in ("", *pool.render())]
        write(*parts[1:] or ["No claims: no task with claim_pool has polled yet."])
    problems = [problem for pool in pools for problem in pool.problems]
    errors += [pool.error for pool in pools if pool.error]
    for line in (*problems, *errors):
        print_error(line)
    return EXIT_FAILED if errors else EXIT_POOL_PROBLEM if problems else 0


def _read_ledgers(pool: str | None) -> tuple[list[Ledger], list[str]]:
    """Return the ledger of a pool, or all ledgers, and the errors of those that cannot be read."""
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


class _Holding(NamedTuple):
    """A claim that counts."""

    claim: Claim
    settles_in: float

    @property
    def until(self) -> str:
        """When the claim ends."""
        if self.settles_in > 0:
            return f"settling, {format_seconds(self.settles_in)} s left"
        if self.claim.is_spent_by_itself:
            return "end of task"
        return ", ".join(self.release_after) or "end of run"

    @property
    def release_after(self) -> list[str]:
        return [_task_name(task_id, index) for task_id, index in self.claim.spent_by]

    def report(self) -> dict[str, Any]:
        return {
            **_report(self.claim.task, self.claim.credits),
            "since": _iso(self.claim.granted_at or self.claim.since),
            "release_after": self.release_after,
            "settles_in": round(self.settles_in, 1) if self.settles_in > 0 else None,
            "until": self.until,
        }

    def cells(self) -> list[str]:
        since = _time(self.claim.granted_at or self.claim.since)
        return [_task_and_run(self.claim.task), format_credits(self.claim.credits), since, self.until]


class _Waiting(NamedTuple):
    """
    A claim whose task waits.

    :param state: State of the task.
    :param standing: Whether it can be granted its credits; None if the balance is unknown.
    :param reserved: Credits that tasks ahead can be granted.
    :param undecided_for: Seconds since its credits became available without the task claiming them.
    """

    claim: Claim
    state: str | None
    standing: Standing | None
    reserved: Decimal
    undecided_for: float

    @property
    def status(self) -> str:
        """``short``, ``behind``, ``grantable``, ``passed_over`` or ``unknown``."""
        if self.standing is None:
            return "unknown"
        if self.standing.is_granted:
            return "passed_over" if self.undecided_for >= self.claim.patience else "grantable"
        return "short" if self.short > self.reserved else "behind"

    @property
    def short(self) -> Decimal:
        """Number of missing credits, including those that tasks ahead can be granted."""
        if self.standing is None:
            return Decimal(0)
        return max(self.claim.credits + self.claim.reserve - self.standing.available, Decimal(0))

    @property
    def reason(self) -> str:
        """Why the task has no credits yet."""
        if self.standing is None:
            return "balance unknown"
        ahead = f"{self.standing.ahead} {'task' if self.standing.ahead == 1 else 'tasks'} ahead"
        return {
            "short": f"{format_credits(self.short)} short" + (f", {ahead}" if self.reserved else ""),
            "behind": ahead,
            "grantable": _GRANTABLE.get(self.state or "", "can be granted: waits for the pool's slot"),
            "passed_over": f"passed over: credits not claimed for {format_seconds(self.undecided_for)} s",
        }[self.status]

    def report(self) -> dict[str, Any]:
        return {
            **_report(self.claim.task, self.claim.credits),
            "reserve": json_number(self.claim.reserve),
            "priority": self.claim.priority,
            "since": _iso(self.claim.since),
            "state": self.state,
            "status": self.status,
            "short": None if self.standing is None else json_number(self.short),
            "ahead": None if self.standing is None else self.standing.ahead,
            "reason": self.reason,
        }

    def cells(self) -> list[str]:
        reserve = f"\n+{format_credits(self.claim.reserve)} reserve" if self.claim.reserve else ""
        credits = f"{format_credits(self.claim.credits)}{reserve}"
        return [_task_and_run(self.claim.task), credits, str(self.claim.priority), _time(self.claim.since), self.reason]


class _PoolView(NamedTuple):
    """
    The claims and settings of one pool.

    :param problems: Wrong settings of the pool.
    :param error: Why the balance could not be read.
    """

    pool: str
    conn_id: str | None
    balance: CreditBalance | None
    holding: Sequence[_Holding]
    waiting: Sequence[_Waiting]
    problems: Sequence[str]
    error: str | None

    @classmethod
    def read(cls, ledger: Ledger, conn_id: str | None) -> _PoolView:
        """
        Read the states first and then the balance, in the same order as a task that decides.

        :param ledger: The ledger of the pool.
        :param conn_id: Connection to use; None for the connection of the latest claim.
        """
        found = complete(survey(ledger), ask_database)
        latest = max(ledger.claims, key=lambda claim: claim.since, default=None)
        if conn_id is None and latest:
            conn_id = latest.conn_id
        balance, error = (None, None) if conn_id is None else _read_balance(conn_id)
        now = time.time()
        ledger = observe(ledger, found, now)
        holding = [_Holding(claim, claim.settles_in(now)) for claim in held_claims(ledger, found, now)]
        waiting = _waiting(ledger, found, balance, now)
        return cls(ledger.pool, conn_id, balance, holding, waiting, list(_problems(ledger.pool)), error)

    @property
    def claimed(self) -> Decimal:
        return sum((holding.claim.credits for holding in self.holding), Decimal(0))

    @property
    def available(self) -> Decimal | None:
        return None if self.balance is None else max(self.balance.spendable - self.claimed, Decimal(0))

    def report(self) -> dict[str, Any]:
        return {
            "pool": self.pool,
            "conn_id": self.conn_id,
            "spendable": None if self.balance is None else json_number(self.balance.spendable),
            "claimed": json_number(self.claimed),
            "available": None if self.available is None else json_number(self.available),
            "holding": [holding.report() for holding in self.holding],
            "waiting": [waiting.report() for waiting in self.waiting],
            "problems": list(self.problems),
        }

    def render(self) -> Iterator[RenderableType]:
        yield f"Pool {self.pool!r}: {self._totals()}."
        if self.holding:
            yield ""
            yield _table(("Holds credits", "Credits", "Since (UTC)", "Until"), self.holding)
        if self.waiting:
            yield ""
            yield _table(("Waits for credits", "Credits", "Priority", "Since (UTC)", "Why not yet"), self.waiting)

    def _totals(self) -> str:
        claimed = f"{format_credits(self.claimed)} claimed"
        if self.balance is None or self.available is None:
            return f"{claimed}, balance unknown"
        spendable = f"{format_credits(self.balance.spendable)} spendable"
        if self.balance.is_frozen:
            spendable += " (account frozen by LeadMagic)"
        return f"{spendable}, {claimed}, {format_credits(self.available)} available on connection {self.conn_id!r}"


def _check_pool_name(pool: str) -> None:
    try:
        check_text("--pool", pool)
    except ValueError as error:
        fail(str(error))


def _read_balance(conn_id: str) -> tuple[CreditBalance | None, str | None]:
    """Return the balance, or the reason why it cannot be read."""
    try:
        return LeadMagicHook(conn_id, max_attempts=MAX_ATTEMPTS).get_credits(), None
    except Exception as error:
        return None, describe_failure(error, conn_id)


def _waiting(ledger: Ledger, found: Survey, balance: CreditBalance | None, now: float) -> list[_Waiting]:
    if balance is None:
        return [_Waiting(claim, found.state(claim.task), None, Decimal(0), 0.0) for claim in queue(ledger, found)]
    result = standings(ledger, found, balance.spendable, now)
    waiting = []
    for claim in queue(result.ledger, found):
        standing = result.by_task[claim.task]
        reserved = balance.spendable - standing.claimed - standing.available
        undecided_for = 0.0 if claim.affordable_since is None else now - claim.affordable_since
        waiting.append(_Waiting(claim, found.state(claim.task), standing, reserved, undecided_for))
    return waiting


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


def _table(titles: Sequence[str], rows: Sequence[_Holding | _Waiting]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    for title in titles:
        table.add_column(title, justify="right" if title in ("Credits", "Priority") else "left", overflow="fold")
    for row in rows:
        table.add_row(*row.cells())
    return table


def _report(task: TaskKey, credits: Decimal) -> dict[str, Any]:
    return {**task._asdict(), "credits": json_number(credits)}


def _task_and_run(task: TaskKey) -> str:
    index = None if task.map_index < 0 else task.map_index
    return f"{task.dag_id}.{_task_name(task.task_id, index)}\n{task.run_id}"


def _task_name(task_id: str, map_index: int | None) -> str:
    return task_id if map_index is None else f"{task_id}[{map_index}]"


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d\n%H:%M}"


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
