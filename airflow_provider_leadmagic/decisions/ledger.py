"""
The ledger of the claims on the credits of one account, and its text in an Airflow Variable.

The ledger only lists which tasks claim credits, and how many. Whether a claim counts depends on what Airflow says about
its tasks: see :mod:`~airflow_provider_leadmagic.decisions.claims`.
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
    from collections.abc import Iterable

#: Version of the format of the text.
VERSION = 1


class SpendingTask(NamedTuple):
    """A task that spends claimed credits. ``map_index`` is None if all indexes of a mapped task spend them."""

    task_id: str
    map_index: int | None = None


@dataclass(frozen=True)
class Claim:
    """
    Credits that a task holds or waits for.

    :param task: The task.
    :param credits: Number of credits.
    :param since: Unix time of the task's first poll.
    :param conn_id: Connection of the task.
    :param reserve: Credits that must remain available to others when the claim is granted.
    :param priority: ``priority_weight`` of the task: the higher, the earlier it gets credits.
    :param patience: Seconds for which a waiting task keeps its place in the queue if it could be granted its credits
        but does not decide.
    :param settle: Seconds for which the claim still counts after it was seen to have ended.
    :param spent_by: Tasks after which the claim ends. If empty, it ends with the run.
    :param replaces: IDs of tasks upstream in the same run, whose claims this one replaces.
    :param is_spent_by_itself: Whether the task spends the credits itself. Its claim ends when it has finished.
    :param granted_at: Unix time at which the task was granted the credits; None if it never was.
    :param ended_at: Unix time at which the granted claim was first seen to have ended.
    :param affordable_since: Unix time since which a waiting task could have been granted its credits.
    """

    task: TaskKey
    credits: Decimal
    since: float
    conn_id: str = ""
    reserve: Decimal = Decimal(0)
    priority: int = 1
    patience: float = 660.0
    settle: float = 60.0
    spent_by: tuple[SpendingTask, ...] = ()
    replaces: tuple[str, ...] = ()
    is_spent_by_itself: bool = False
    granted_at: float | None = None
    ended_at: float | None = None
    affordable_since: float | None = None

    @property
    def run(self) -> tuple[str, str]:
        """DAG ID and run ID."""
        return self.task.dag_id, self.task.run_id

    def contains(self, other: Claim) -> bool:
        """Return whether another claim is part of this one."""
        return self.task == other.task or (self.run == other.run and other.task.task_id in self.replaces)

    def granted(self, now: float) -> Claim:
        """Return the claim as granted."""
        return replace(self, granted_at=now, ended_at=None, affordable_since=None)

    def settles_in(self, now: float) -> float:
        """Return the seconds for which a claim that has ended still counts; 0 or less if it does not count."""
        return 0.0 if self.ended_at is None else self.ended_at + self.settle - now


@dataclass(frozen=True)
class Ledger:
    """
    The claims on the credits of one account.

    :param claims: Claims of tasks that hold credits, wait for credits, or have finished a short time ago.
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
        """Return the ledger of the same pool with other claims."""
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
    known = {name: body[name] for name in body.keys() & _DEFAULTS.keys()}
    known |= {name: _number(body[name]) for name in known.keys() & {"credits", "reserve"}}
    dag_id, run_id, task_id, map_index = body["task"]
    return Claim(
        **known
        | {
            "task": TaskKey(str(dag_id), str(run_id), str(task_id), int(map_index)),
            "since": float(body["since"]),
            "spent_by": tuple(SpendingTask(*task) for task in body.get("spent_by", ())),
            "replaces": tuple(body.get("replaces", ())),
        }
    )


def _number(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError(text)
    return number
