"""
The ledger of the claims on the credits of one account, and its text in an Airflow Variable.

The ledger lists which tasks claim credits, and how many. Whether a claim counts also depends on the states that Airflow
stores for its tasks: see :mod:`~airflow_provider_leadmagic.decisions.claims`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_leadmagic.api.text import describe_value
from airflow_provider_leadmagic.compat.metadata import TaskKey
from airflow_provider_leadmagic.exceptions import ClaimsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Version of the format of the text.
VERSION = 1


class SpendingTask(NamedTuple):
    """A task of a run that spends claimed credits. ``map_index`` is None if all indexes of a mapped task spend them."""

    task_id: str
    map_index: int | None = None

    def includes(self, task: TaskKey) -> bool:
        """Return whether a task is this one, or one of its indexes. The run is not compared."""
        return self.task_id == task.task_id and self.map_index in (None, task.map_index)


@dataclass(frozen=True)
class Claim:
    """
    Credits that a task holds or waits for.

    :param task: The task.
    :param credits: Number of credits.
    :param since: Unix time of the poll with which the current wait began. It determines the place in the queue.
    :param attempt: Number of the attempt that polled last.
    :param conn_id: Connection of the task.
    :param reserve: Credits that must remain available to others when the claim is granted.
    :param priority: ``priority_weight`` of the task. Tasks with a higher value are granted credits first.
    :param patience: Seconds for which this task keeps its place after there are enough credits for it. If it has not
        been granted them by then, the tasks behind it in the queue may overtake it.
    :param settle: Seconds for which the claim still counts after it was seen to have ended.
    :param spent_by: Tasks after which the claim ends. If empty, it ends with the run, or with the task itself if
        ``is_spent_by_claimant``.
    :param replaces: Tasks upstream in the same run, whose claims this one replaces.
    :param is_spent_by_claimant: Whether the task that claims the credits also spends them. Its claim ends when it has
        finished.
    :param granted_at: Unix time at which this claim was granted; None if it was not.
    :param ended_at: Unix time at which the granted claim was first seen to have ended.
    :param affordable_since: Unix time since which a waiting task could have been granted its credits, or None.
    :param earlier: Credits that the task was granted before it began to wait again. They count until ``settle``
        seconds after ``earlier_ended_at``, because an earlier process of the task can still spend them.
    :param earlier_ended_at: Unix time at which the earlier claim was seen to have ended.
    """

    task: TaskKey
    credits: Decimal
    since: float
    attempt: int = 0
    conn_id: str = ""
    reserve: Decimal = Decimal(0)
    priority: int = 1
    patience: float = 660.0
    settle: float = 60.0
    spent_by: tuple[SpendingTask, ...] = ()
    replaces: tuple[SpendingTask, ...] = ()
    is_spent_by_claimant: bool = False
    granted_at: float | None = None
    ended_at: float | None = None
    affordable_since: float | None = None
    earlier: Decimal = Decimal(0)
    earlier_ended_at: float | None = None

    @property
    def run(self) -> tuple[str, str]:
        """DAG ID and run ID."""
        return self.task.dag_id, self.task.run_id

    def replaces_at(self, now: float, other: Claim) -> bool:
        """
        Return whether this claim already replaces another one.

        It does so after a delay, because the balance may not yet show what the upstream tasks have spent.
        """
        return self.will_replace(other) and now >= self.since + other.settle

    def will_replace(self, other: Claim) -> bool:
        """Return whether this claim replaces another one, now or later."""
        return self.run == other.run and any(task.includes(other.task) for task in self.replaces)

    def attempted_again(self, earlier: Claim, now: float) -> Claim:
        """
        Return this claim, with the values to keep from the claim that its task already has in the ledger.

        A task that waits keeps its place in the queue. A task whose earlier claim was granted goes to the end of the
        queue, and the earlier credits count until they have settled.
        """
        if earlier.granted_at is not None:
            ended_at = now if earlier.ended_at is None else earlier.ended_at
            return replace(self, earlier=earlier.credits + earlier.unsettled(now), earlier_ended_at=ended_at)
        kept = {name: getattr(earlier, name) for name in ("since", "earlier", "earlier_ended_at")}
        return replace(self, **kept)

    def unsettled(self, now: float) -> Decimal:
        """Return the credits of earlier claims that still count."""
        return self.earlier if _settles_in(self.earlier_ended_at, self.settle, now) > 0 else Decimal(0)

    def granted(self, now: float) -> Claim:
        """Return the claim with the time at which it is granted."""
        return replace(self, granted_at=now, ended_at=None, affordable_since=None)

    def settles_in(self, now: float) -> float:
        """Return for how many more seconds an ended claim counts; 0 or less if it has settled or has not ended."""
        return _settles_in(self.ended_at, self.settle, now)


def _settles_in(ended_at: float | None, settle: float, now: float) -> float:
    return 0.0 if ended_at is None else ended_at + settle - now


@dataclass(frozen=True)
class Ledger:
    """
    The claims on the credits of one account.

    :param claims: Claims of tasks that hold credits, wait for credits, or have finished recently.
    :param pool: Name of the claim pool.
    """

    claims: tuple[Claim, ...] = ()
    pool: str = ""

    def find(self, task: TaskKey) -> Claim | None:
        """Return the claim of a task."""
        return next((claim for claim in self.claims if claim.task == task), None)

    def with_claim(self, claim: Claim) -> Ledger:
        """Return the ledger with a new or changed claim."""
        return self.with_claims((*(other for other in self.claims if other.task != claim.task), claim))

    def with_claims(self, claims: Iterable[Claim]) -> Ledger:
        """Return a ledger of the same pool with the given claims instead."""
        return replace(self, claims=tuple(claims))

    def to_text(self) -> str:
        """Return the JSON text of the ledger. Fields with their default value are left out."""
        claims = [_to_json(claim) for claim in self.claims]
        return json.dumps({"version": VERSION, "pool": self.pool, "claims": claims})

    @classmethod
    def from_text(cls, text: str | None, variable: str) -> Ledger:
        """
        Read a ledger.

        :param text: The JSON text; None for an empty ledger.
        :param variable: Key of the Variable, for error messages.
        :raises ClaimsError: If the text is not a ledger, or was written by a newer version.
        """
        if text is None:
            return cls()
        try:
            body = json.loads(text)
            version = body["version"]
            ledger = cls(tuple(map(_from_json, body["claims"])), str(body["pool"])) if version == VERSION else cls()
        except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError):
            advice = f"restore the Variable {variable!r}, or delete it if no run holds credits"
            raise ClaimsError(f"Unreadable claims: {advice}; got {describe_value(text)}") from None
        if version != VERSION:
            advice = "run the same version of the provider everywhere"
            raise ClaimsError(f"Claims in Variable {variable!r} have version {version!r}, not {VERSION}: {advice}.")
        return ledger


_DEFAULTS = {field.name: field.default for field in fields(Claim)}


def _to_json(claim: Claim) -> dict[str, Any]:
    values = {name: getattr(claim, name) for name in _DEFAULTS}
    return {
        name: str(value) if isinstance(value, Decimal) else value
        for name, value in values.items()
        if value != _DEFAULTS[name]
    }


def _from_json(body: dict[str, Any]) -> Claim:
    return Claim(**{name: read(body[name]) for name, read in _READERS.items() if name in body})


def _task_key(values: list[Any]) -> TaskKey:
    dag_id, run_id, task_id, map_index = values
    return TaskKey(str(dag_id), str(run_id), str(task_id), int(map_index))


def _number(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite() or number < 0:
        raise ValueError(text)
    return number


def _seconds(value: float) -> float:
    if not abs(value) < _END_OF_TIME:  # NaN, too
        raise ValueError(value)
    return float(value)


#: Unix time of the end of the year 9999, after which Python has no dates.
_END_OF_TIME = 253_402_300_800
_TIMES = ("since", "patience", "settle", "granted_at", "ended_at", "affordable_since", "earlier_ended_at")
_READERS: dict[str, Callable[[Any], Any]] = {
    "task": _task_key,
    "conn_id": str,
    **dict.fromkeys(("attempt", "priority"), int),
    "spent_by": lambda tasks: tuple(SpendingTask(*task) for task in tasks),
    "replaces": lambda tasks: tuple(SpendingTask(*task) for task in tasks),
    "is_spent_by_claimant": bool,
    **dict.fromkeys(("credits", "reserve", "earlier"), _number),
    **dict.fromkeys(_TIMES, _seconds),
}
