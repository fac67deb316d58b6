"""
Decide which tasks may spend the credits of an account, so that no two of them count on the same credits.

The claims are stored in a ledger. A sensor's claim begins in the transaction in which Airflow sets the sensor's state
to ``success``, and ends with the run, or with the tasks that spend the credits. If a task spends the credits itself,
its claim begins when the grant is written to the ledger, and ends when the task has finished. Whether a claim holds
credits therefore depends on the states that Airflow stores for tasks and runs: a process that is killed leaves no claim
behind. A claim still counts for some seconds (``settle``) after its end, because the balance may not yet show the
latest spending.

No two tasks may decide at the same time, so each decision runs in a pool with one slot. Its steps are, in this order:
read the ledger, read the states (:func:`survey`), read the balance, decide (:func:`standings`), write the ledger. If
the balance were read before the states, a claim could end between the two. It might then stop counting while the
balance, read earlier, still includes the credits that were spent under it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from airflow_provider_leadmagic.api.text import json_number
from airflow_provider_leadmagic.compat.metadata import Question, ReadActiveRuns, ReadTaskStates, TaskKey

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from airflow_provider_leadmagic.decisions.ledger import Claim, Ledger, SpendingTask

T = TypeVar("T")

#: States in which a task does nothing more, unless it is cleared.
FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
#: States in which a task occupies a slot of its pool.
IN_A_SLOT = frozenset({"queued", "running"})
#: Seconds for which a claim is kept after its end, so that it counts again if a task that spends it is cleared.
RETENTION = 3600.0


class Survey:
    """
    The states of the tasks and runs of a ledger, read from Airflow.

    :param states: States by task. A task without a task instance is missing.
    :param active_runs: DAG ID and run ID of the runs that are queued or running.
    """

    def __init__(self, states: Mapping[TaskKey, str | None], active_runs: Iterable[tuple[str, str]]) -> None:
        self._states = states
        self._active_runs = frozenset(active_runs)

    def state(self, task: TaskKey) -> str | None:
        """Return the state of a task; ``removed`` if it or its run was deleted."""
        return self._states.get(task, "removed")

    def is_active(self, claim: Claim) -> bool:
        """Return whether the run of a claim is queued or running."""
        return claim.run in self._active_runs

    def holds(self, claim: Claim) -> bool:
        """Return whether a claim holds its credits: its task, or the tasks after it, may still spend them."""
        if not self.is_active(claim):
            return False
        state = self.state(claim.task)
        if claim.is_spent_by_claimant:
            return claim.granted_at is not None and state not in FINISHED
        return state == "success" and not self._is_spent(claim)

    def waits(self, claim: Claim) -> bool:
        """Return whether a task waits for the credits of its claim."""
        return self.is_active(claim) and self.state(claim.task) not in FINISHED and not self.holds(claim)

    def has_ended(self, claim: Claim) -> bool:
        """Return whether a claim was granted and has ended."""
        return claim.granted_at is not None and not self.holds(claim) and not self.waits(claim)

    def _is_spent(self, claim: Claim) -> bool:
        return bool(claim.spent_by) and all(self._has_finished(claim.run, spending) for spending in claim.spent_by)

    def _has_finished(self, run: tuple[str, str], spending: SpendingTask) -> bool:
        states = self._states_by_index.get((*run, spending.task_id), {})
        chosen = [state for index, state in states.items() if spending.map_index in (None, index)]
        # A task without a task instance is not expanded yet, or was renamed. Then the claim ends with the run at the
        # latest.
        return bool(chosen) and all(state in FINISHED for state in chosen)

    @cached_property
    def _states_by_index(self) -> Mapping[tuple[str, str, str], dict[int, str | None]]:
        found: dict[tuple[str, str, str], dict[int, str | None]] = defaultdict(dict)
        for task, state in self._states.items():
            found[task.dag_id, task.run_id, task.task_id][task.map_index] = state
        return found


def survey(ledger: Ledger) -> Generator[Question[Any], Any, Survey]:
    """
    Read the states of all tasks and runs of a ledger from Airflow.

    This generator yields two questions for each DAG, and must be sent the response to each; see :func:`complete`.

    :param ledger: The ledger.
    """
    runs: dict[str, set[str]] = defaultdict(set)
    tasks: dict[str, set[str]] = defaultdict(set)
    for claim in ledger.claims:
        runs[claim.task.dag_id].add(claim.task.run_id)
        tasks[claim.task.dag_id] |= {claim.task.task_id, *(spending.task_id for spending in claim.spent_by)}
    states: dict[TaskKey, str | None] = {}
    active: set[tuple[str, str]] = set()
    for dag_id in sorted(runs):
        run_ids = tuple(sorted(runs[dag_id]))
        states |= yield ReadTaskStates(dag_id, run_ids, tuple(sorted(tasks[dag_id])))
        active |= {(dag_id, run_id) for run_id in (yield ReadActiveRuns(dag_id, run_ids))}
    return Survey(states, active)


def complete(questions: Generator[Any, Any, T], respond: Callable[[Any], Any]) -> T:
    """
    Run a generator: send it the response to each question that it yields, and return its result.

    :param questions: The generator.
    :param respond: Returns the response to a question.
    """
    try:
        question = next(questions)
        while True:
            question = questions.send(respond(question))
    except StopIteration as end:
        return cast("T", end.value)


class Seen(NamedTuple):
    """
    What a triggerer has seen since the ledger was last written. It passes this to the worker, which decides.

    :param ended: For the task of each ended claim, the seconds since its end was seen.
    :param affordable: For each waiting task that could be granted its credits, the seconds since that was first seen.
    """

    ended: Mapping[TaskKey, float]
    affordable: Mapping[TaskKey, float]

    @classmethod
    def in_ledger(cls, ledger: Ledger, now: float) -> Seen:
        """
        Convert the times in a ledger to seconds before now.

        :param ledger: The ledger in the result of :func:`standings`, or an empty one.
        :param now: Unix time.
        """
        ended = {claim.task: now - claim.ended_at for claim in ledger.claims if claim.ended_at is not None}
        affordable = {
            claim.task: now - claim.affordable_since for claim in ledger.claims if claim.affordable_since is not None
        }
        return cls(ended, affordable)


NOTHING_SEEN = Seen({}, {})


def observe(ledger: Ledger, survey: Survey, now: float, seen: Seen = NOTHING_SEEN) -> Ledger:
    """
    Return a ledger with the times at which claims began and ended, and without the claims that ended long ago or can no
    longer be granted.

    :param ledger: The ledger.
    :param survey: The current states.
    :param now: Unix time.
    :param seen: What the triggerer has seen earlier.
    """
    claims = (_observe(claim, survey, now, seen) for claim in ledger.claims)
    return ledger.with_claims(claim for claim in claims if _is_kept(claim, survey, now))


def _observe(claim: Claim, survey: Survey, now: float, seen: Seen) -> Claim:
    if survey.holds(claim):
        # ``granted_at`` is missing if a user marked the task success. A claim that had ended and counts again starts
        # over.
        granted_at = now if claim.granted_at is None or claim.ended_at is not None else claim.granted_at
        return replace(claim, granted_at=granted_at, ended_at=None, affordable_since=None)
    if claim.granted_at is not None and survey.state(claim.task) != "running":  # a running sensor may yet succeed
        ended_at = now - seen.ended.get(claim.task, 0.0)
        if ended_at <= claim.granted_at:  # the end of an earlier grant
            ended_at = now
        claim = replace(claim, ended_at=min(ended_at, now if claim.ended_at is None else claim.ended_at))
    if survey.waits(claim) and claim.task in seen.affordable:
        since = now if claim.affordable_since is None else claim.affordable_since
        return replace(claim, affordable_since=min(now - seen.affordable[claim.task], since))
    return claim


def _is_kept(claim: Claim, survey: Survey, now: float) -> bool:
    if claim.unsettled(now) > 0:
        return True
    if survey.is_active(claim):  # also if the task failed: a user can mark it success
        return survey.state(claim.task) != "removed" or claim.ended_at is not None
    return claim.ended_at is not None and now < claim.ended_at + max(claim.settle, RETENTION)


def held_claims(ledger: Ledger, survey: Survey, now: float) -> list[Claim]:
    """
    Return the claims that count: those that hold credits, and those that ended less than ``settle`` seconds ago.

    A claim can replace the claims of upstream tasks in its run (``replaces``). It counts as soon as it holds credits.
    An upstream claim stops counting when the new claim is granted, but not before the task of the new claim has waited
    for the ``settle`` seconds of the upstream claim. An upstream claim that has ended and settled has stopped already.

    If a task was granted credits in an earlier attempt and now waits again, those credits (``earlier``) count as a
    claim of their own for a while.

    :param ledger: The ledger, observed with the same survey.
    :param survey: The states of its tasks and runs.
    :param now: Unix time.
    """
    replacing = (claim for claim in ledger.claims if claim.replaces)
    granted = _by_run(claim for claim in replacing if survey.holds(claim) or survey.has_ended(claim))
    counting = (claim for claim in ledger.claims if survey.holds(claim) or claim.settles_in(now) > 0)
    held = [claim for claim in counting if not any(other.replaces_at(now, claim) for other in granted[claim.run])]
    return held + [
        replace(claim, credits=claim.earlier, ended_at=claim.earlier_ended_at)
        for claim in ledger.claims
        if claim.unsettled(now)
    ]


def _by_run(claims: Iterable[Claim]) -> dict[tuple[str, str], list[Claim]]:
    by_run: dict[tuple[str, str], list[Claim]] = defaultdict(list)
    for claim in claims:
        by_run[claim.run].append(claim)
    return by_run


def _sum(claims: Iterable[Claim]) -> Decimal:
    return sum((claim.credits for claim in claims), Decimal(0))


class Standing(NamedTuple):
    """
    Whether a waiting task is granted its credits, and the amounts that this depends on.

    :param is_granted: Whether the task may spend.
    :param available: Credits that are neither claimed by others nor about to be claimed by the tasks ahead.
    :param claimed: Credits claimed by others.
    :param runs: Number of runs with these claims.
    :param ahead: Number of waiting tasks ahead of it in the queue.
    """

    is_granted: bool
    available: Decimal
    claimed: Decimal
    runs: int
    ahead: int

    def kept_for_tasks_ahead(self, spendable: Decimal) -> Decimal:
        """
        Return the credits kept for tasks ahead in the queue that can be granted theirs now.

        :param spendable: Spendable credits of the account, as for :func:`standings`.
        """
        return spendable - self.claimed - self.available

    def report(self) -> dict[str, Any]:
        """Return the fields that claims add to the XCom of a task."""
        return {"claimed_by_others": json_number(self.claimed), "available": json_number(self.available)}


class Standings(NamedTuple):
    """
    The standings of all waiting tasks.

    :param ledger: The ledger, with the time since which each waiting task could have been granted its credits.
    :param by_task: Standing of each waiting task.
    :param claimed: Sum of all claims that count.
    :param changes_in: Seconds until a standing changes even if balance and states do not; ``math.inf`` if none does.
    """

    ledger: Ledger
    by_task: Mapping[TaskKey, Standing]
    claimed: Decimal
    changes_in: float


def queue(ledger: Ledger, survey: Survey) -> list[Claim]:
    """
    Return the claims of the waiting tasks, by priority and then by the time since which they wait.

    :param ledger: The ledger.
    :param survey: The states of its tasks and runs.
    """
    return sorted(filter(survey.waits, ledger.claims), key=lambda claim: (-claim.priority, claim.since, claim.task))


def standings(ledger: Ledger, survey: Survey, spendable: Decimal, now: float) -> Standings:
    """
    Return which waiting tasks are granted their credits.

    A task is granted its credits if enough are left after subtracting the claims of others and what the tasks ahead can
    be granted now. A task that cannot be granted its credits does not hold up those behind it. A task that could be
    granted them, but never makes its decision, holds up those behind it for ``patience`` seconds at most.

    :param ledger: The ledger, observed with the same survey.
    :param survey: The states of its tasks and runs.
    :param spendable: Spendable credits of the account, read after the survey.
    :param now: Unix time.
    """
    held = held_claims(ledger, survey, now)
    total, by_run, reserved = _sum(held), _by_run(held), Decimal(0)
    changes = [claim.settles_in(now) for claim in held if claim.ended_at is not None]
    changes += [
        claim.since + other.settle - now
        for claim in ledger.claims
        for other in (by_run.get(claim.run, ()) if claim.replaces else ())
        if claim.will_replace(other) and not claim.replaces_at(now, other)
    ]
    by_task, waiting = {}, {}
    for ahead, claim in enumerate(queue(ledger, survey)):
        in_run = by_run.get(claim.run, ()) if claim.replaces else ()
        own = [other for other in in_run if claim.replaces_at(now, other)]
        claimed = total - _sum(own)
        available = spendable - claimed - reserved
        is_granted = available - claim.reserve >= claim.credits
        replaces_all_of_run = bool(own) and len(own) == len(by_run[claim.run])
        by_task[claim.task] = Standing(is_granted, available, claimed, len(by_run) - replaces_all_of_run, ahead)
        since = now if claim.affordable_since is None else claim.affordable_since
        # Tasks behind it wait no longer than its patience, because a task of a paused DAG, for example, never decides.
        is_overtaken = now - since >= claim.patience
        waiting[claim.task] = replace(claim, affordable_since=since if is_granted or is_overtaken else None)
        if is_granted and not is_overtaken:
            # Also keep the credits that must remain after the grant (``reserve``): if tasks behind took them first,
            # this task would not be granted its credits.
            reserved += max(claim.credits + claim.reserve - _sum(own), Decimal(0))
            changes.append(since + claim.patience - now)
    updated = ledger.with_claims(waiting.get(claim.task, claim) for claim in ledger.claims)
    return Standings(updated, by_task, total, min(changes, default=math.inf))
