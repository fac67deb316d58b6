"""Describe the claims of a pool to users: which tasks hold credits, which wait, in which order and why."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple, Self

from airflow_provider_leadmagic.api.text import format_credits
from airflow_provider_leadmagic.compat.metadata import ask_database
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

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_leadmagic.api.models import CreditBalance
    from airflow_provider_leadmagic.decisions.claims import Standing
    from airflow_provider_leadmagic.decisions.ledger import Claim, Ledger

#: Reason to show for a task that can be granted its credits, by its Airflow state. A task in a state that is not listed
#: waits for the only slot of the claim pool.
_GRANTABLE = dict.fromkeys(("deferred", "up_for_reschedule"), "can be granted at its next poll")
_GRANTABLE |= dict.fromkeys(IN_A_SLOT, "decides now")


class Holding(NamedTuple):
    """
    A claim that counts: its credits are not available to other tasks. It holds them, or has ended a moment ago.

    :param claim: The claim.
    :param settles_in: Seconds for which it still counts after its end; 0 or less if it has not ended.
    """

    claim: Claim
    settles_in: float

    @property
    def until(self) -> str:
        """When the claim ends, such as ``end of run``, or ``settling, 5 s left`` if it has ended but still counts."""
        if self.settles_in > 0:
            return f"settling, {format_seconds(self.settles_in)} s left"
        if self.claim.is_spent_by_claimant:
            return "end of task"
        return ", ".join(self.release_after) or "end of run"

    @property
    def release_after(self) -> list[str]:
        """The tasks after which the claim ends; empty if it ends with its own task or its run."""
        return [task_name(task_id, index) for task_id, index in self.claim.spent_by]

    @property
    def since(self) -> float:
        """Unix time at which the credits were granted, or at which the task began to wait if that is unknown."""
        return self.claim.granted_at or self.claim.since


class Waiting(NamedTuple):
    """
    A claim whose task waits.

    :param state: State of the task.
    :param standing: Whether it can be granted its credits; None if the balance is unknown.
    :param reserved: Credits kept for tasks ahead in the queue that can be granted theirs now.
    :param undecided_for: Seconds for which its credits have been available without a decision of the task.
    """

    claim: Claim
    state: str | None
    standing: Standing | None
    reserved: Decimal
    undecided_for: float

    @property
    def status(self) -> str:
        """``short``, ``behind``, ``grantable``, ``overtaken`` or ``unknown``."""
        if self.standing is None:
            return "unknown"
        if self.standing.is_granted:
            return "overtaken" if self.undecided_for >= self.claim.patience else "grantable"
        return "short" if self.short > self.reserved else "behind"

    @property
    def short(self) -> Decimal:
        """
        Number of credits that this task lacks; those kept for tasks ahead (:attr:`reserved`) count as missing. 0 if the
        balance is unknown.
        """
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
            "overtaken": f"can be overtaken: has not claimed its credits for {format_seconds(self.undecided_for)} s",
        }[self.status]


class PoolOverview(NamedTuple):
    """
    The claims of one pool.

    :param pool: Name of the pool.
    :param conn_id: Connection of the account; None if it is unknown.
    :param balance: Balance of the account; None if it is unknown.
    :param holding: The claims that count.
    :param waiting: The claims whose tasks wait, in the order of the queue.
    """

    pool: str
    conn_id: str | None
    balance: CreditBalance | None
    holding: Sequence[Holding]
    waiting: Sequence[Waiting]

    @classmethod
    def read(cls, ledger: Ledger, conn_id: str | None, read_balance: Callable[[str], CreditBalance | None]) -> Self:
        """
        Read the states of tasks and runs before the balance, as a task does when it decides about its claim.

        :param ledger: The ledger of the pool.
        :param conn_id: Connection to use; None for the connection of the latest claim.
        :param read_balance: Returns the balance of a connection; None if it cannot be read. With a cached balance,
            :attr:`available` can be too high: if a task has spent credits since then and its claim has ended, neither
            the balance nor a claim shows that these credits are gone.
        """
        found = complete(survey(ledger), ask_database)
        conn_id = conn_id or account_of(ledger)
        balance = None if conn_id is None else read_balance(conn_id)
        now = time.time()
        ledger = observe(ledger, found, now)
        holding = [Holding(claim, claim.settles_in(now)) for claim in held_claims(ledger, found, now)]
        return cls(ledger.pool, conn_id, balance, holding, _waiting(ledger, found, balance, now))

    @property
    def claimed(self) -> Decimal:
        """Sum of the claims that count."""
        return sum((holding.claim.credits for holding in self.holding), Decimal(0))

    @property
    def available(self) -> Decimal | None:
        """Spendable credits minus all claims, at least 0; None if the balance is unknown."""
        return None if self.balance is None else max(self.balance.spendable - self.claimed, Decimal(0))


def account_of(ledger: Ledger) -> str | None:
    """
    Return the connection of the latest claim; None if there is no claim.

    :param ledger: The ledger of a pool.
    """
    latest = max(ledger.claims, key=lambda claim: claim.since, default=None)
    return None if latest is None else latest.conn_id


def task_name(task_id: str, map_index: int | None) -> str:
    """
    Return the task ID, with the index of a mapped task: ``wait[2]``.

    :param task_id: Task ID.
    :param map_index: Index; None or less than 0 if the task is not mapped.
    """
    return task_id if map_index is None or map_index < 0 else f"{task_id}[{map_index}]"


def _waiting(ledger: Ledger, found: Survey, balance: CreditBalance | None, now: float) -> list[Waiting]:
    if balance is None:
        return [Waiting(claim, found.state(claim.task), None, Decimal(0), 0.0) for claim in queue(ledger, found)]
    result = standings(ledger, found, balance.spendable, now)
    waiting = []
    for claim in queue(result.ledger, found):
        standing = result.by_task[claim.task]
        reserved = standing.kept_for_tasks_ahead(balance.spendable)
        undecided_for = 0.0 if claim.affordable_since is None else now - claim.affordable_since
        waiting.append(Waiting(claim, found.state(claim.task), standing, reserved, undecided_for))
    return waiting
