"""Decide in a running task whether it is granted the credits that it claims."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_leadmagic.claims.pool import variable_key
from airflow_provider_leadmagic.compat.metadata import Question, ReadTaskStates, ReadVariable, WriteVariable, ask
from airflow_provider_leadmagic.decisions.claims import (
    IN_A_SLOT,
    NOTHING_SEEN,
    Seen,
    Standing,
    Standings,
    Survey,
    complete,
    observe,
    standings,
    survey,
)
from airflow_provider_leadmagic.decisions.ledger import Claim, Ledger
from airflow_provider_leadmagic.exceptions import ClaimsError
from airflow_provider_leadmagic.hooks.metrics import report_claims

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from airflow_provider_leadmagic.api.models import CreditBalance
    from airflow_provider_leadmagic.compat.metadata import TaskKey

#: Longest duration of a decision in seconds, from reading the ledger to writing it. A process that was suspended for
#: longer must not overwrite newer decisions. The limit is far below the minutes without a heartbeat after which Airflow
#: considers a process lost, and gives the slot to another task.
LONGEST_DECISION = 25.0
_DESCRIPTION = "Claims on LeadMagic credits. Written by the tasks of the pool; do not edit."


class ReadBalance(NamedTuple):
    """Request the balance of the account from LeadMagic."""


class Decision(NamedTuple):
    """
    The result of a decision.

    :param balance: The balance, read after the states of the tasks.
    :param standing: Whether the task is granted its credits.
    :param standings: The standings of all waiting tasks, including this one.
    """

    balance: CreditBalance
    standing: Standing
    standings: Standings


def decide(pool: str, claim: Claim, read_balance: Callable[[], CreditBalance], seen: Seen = NOTHING_SEEN) -> Decision:
    """
    Decide whether the running task is granted the credits that it claims, and save the result in the ledger.

    :param pool: Name of the claim pool, whose only slot the task occupies.
    :param claim: The claim of the task. A task that already waits keeps its place in the queue. But if its
        claim replaces that of an upstream task (``Claim.replaces``), and the upstream task may have run again and spent
        more while this task waited, this task starts to wait again, behind the other tasks of its priority.
    :param read_balance: Reads the balance of the account.
    :param seen: Which claims the triggerer saw end or become affordable while the task was deferred, and when.
    :raises ClaimsError: If the ledger cannot be read or written, if the states cannot be read, if another task occupies
        the pool too, if the ledger changed meanwhile, if the decision took longer than ``LONGEST_DECISION``, or if
        Airflow no longer counts the task as running.
    :raises LeadMagicError: If the balance cannot be read.
    """
    decision = complete(
        admission(pool, claim, seen, time.time),
        lambda question: read_balance() if isinstance(question, ReadBalance) else ask(question),
    )
    waiting = len(decision.standings.by_task) - decision.standing.is_granted
    report_claims(pool, decision.standings.claimed, decision.balance.spendable, waiting)
    return decision


def admission(
    pool: str, claim: Claim, seen: Seen, clock: Callable[[], float]
) -> Generator[Question[Any] | ReadBalance, Any, Decision]:
    """
    Yield the requests of a decision, one after another, and return the decision.

    :param pool: Name of the claim pool.
    :param claim: The claim of the task.
    :param seen: Which claims the triggerer saw end or become affordable while the task was deferred, and when.
    :param clock: Returns the Unix time.
    """
    started, key = clock(), variable_key(pool)
    text = yield ReadVariable(key)
    ledger = _enter(replace(Ledger.from_text(text, key), pool=pool), claim, started)
    found = yield from survey(ledger)
    _check_states(pool, claim, ledger, found)
    # The clock is read before the balance is requested. An ended claim still counts for ``settle`` seconds, because the
    # balance can still contain credits that were spent under it. If the clock were read after a slow response, this
    # claim might no longer count, although the balance in the response still contains these credits.
    now = clock()
    balance = yield ReadBalance()
    result = standings(observe(ledger, found, now, seen), found, balance.spendable, now)
    standing, ledger = result.by_task[claim.task], result.ledger
    own = ledger.find(claim.task) or claim
    ledger = ledger.with_claim(own.granted(now) if standing.is_granted else replace(own, affordable_since=None))
    if ledger.to_text() != text:
        yield from _check_before_write(key, text, claim.task, started, clock)
        yield WriteVariable(key, ledger.to_text(), _DESCRIPTION)
    return Decision(balance, standing, result)


def _enter(ledger: Ledger, claim: Claim, now: float) -> Ledger:
    in_run = [other.task for other in ledger.claims if other.run == claim.run]
    claim = replace(claim, replaces=tuple(task for task in claim.replaces if any(map(task.includes, in_run))))
    earlier = ledger.find(claim.task)
    if earlier is None:
        return ledger.with_claim(claim)
    polled = claim.attempted_again(earlier, now)
    restarts = _upstream_may_have_spent(ledger, claim, earlier)
    return ledger.with_claim(replace(polled, since=claim.since) if restarts else polled)


def _upstream_may_have_spent(ledger: Ledger, claim: Claim, earlier: Claim) -> bool:
    # Upstream tasks may have been cleared, and may have spent more, since this task began to wait. There are two signs
    # of it: this task is in a new attempt, or an upstream claim was granted after this task's first poll (the upstream
    # task was cleared alone, or the run was deleted and created again with the same ID).
    replaced = [other for other in ledger.claims if claim.will_replace(other)]
    is_next = bool(replaced) and claim.attempt != earlier.attempt
    return is_next or any(other.granted_at is not None and other.granted_at > earlier.since for other in replaced)


def _check_states(pool: str, claim: Claim, ledger: Ledger, found: Survey) -> None:
    if not found.waits(claim):
        raise _not_running(found.state(claim.task))
    others = (other.task for other in ledger.claims if other.task != claim.task)
    if other := next((task for task in others if found.state(task) in IN_A_SLOT), None):
        raise ClaimsError(
            f"Pool {pool!r} must have exactly 1 slot, and must not include deferred tasks: task {other.task_id!r} of "
            f"DAG {other.dag_id!r} occupies it at the same time."
        )


def _check_before_write(
    key: str, text: str | None, task: TaskKey, started: float, clock: Callable[[], float]
) -> Generator[Question[Any], Any, None]:
    # If a user marks a task as failed and clears it, its old and its new process both run for some seconds. The old one
    # then reads the state of the new one, "running", so the state alone does not stop it. A changed ledger does.
    if (yield ReadVariable(key)) != text:
        raise ClaimsError("Claim decision discarded: another task changed the claims meanwhile.", transient=True)
    states = yield ReadTaskStates(task.dag_id, (task.run_id,), (task.task_id,))
    if (state := states.get(task, "removed")) != "running":
        raise _not_running(state)
    if (seconds := clock() - started) > LONGEST_DECISION:
        limit = f"took {seconds:.0f} s, and the limit is {LONGEST_DECISION:.0f} s"
        raise ClaimsError(f"Claim decision discarded: it {limit}.", transient=True)


def _not_running(state: str | None) -> ClaimsError:
    return ClaimsError(f"No credits claimed: Airflow no longer runs this attempt (state {state!r}).")
