"""An Airflow in memory that responds to the requests of tasks and triggers that claim credits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.claims.pool import variable_key
from airflow_provider_leadmagic.compat.metadata import (
    ReadActiveRuns,
    ReadTaskStates,
    ReadVariable,
    TaskKey,
    WriteVariable,
)
from airflow_provider_leadmagic.decisions.ledger import Claim, Ledger

if TYPE_CHECKING:
    from airflow_provider_leadmagic.exceptions import ClaimsError

POOL = "leadmagic"


@dataclass
class ClaimingAirflow:
    """
    Task states, active runs and Variables.

    :param states: States by task. All runs in it are active, unless they are in ``ended_runs``.
    :param ended_runs: DAG ID and run ID.
    :param error: Raised instead of a response, if it is set.
    :param asked: Number of questions by their type.
    """

    states: dict[TaskKey, str | None] = field(default_factory=dict)
    ended_runs: set[tuple[str, str]] = field(default_factory=set)
    variables: dict[str, str] = field(default_factory=dict)
    error: ClaimsError | None = None
    asked: Counter[str] = field(default_factory=Counter)

    def ask(self, question: Any) -> Any:
        """Return the response to a question."""
        self.asked[type(question).__name__] += 1
        if self.error:
            raise self.error
        match question:
            case ReadVariable(key=key):
                return self.variables.get(key)
            case WriteVariable(key=key, value=value):
                self.variables[key] = value
            case ReadTaskStates(dag_id=dag_id, run_ids=run_ids, task_ids=task_ids):
                chosen = (dag_id, set(run_ids), set(task_ids))
                return {task: state for task, state in self.states.items() if _is_chosen(task, *chosen)}
            case ReadActiveRuns(dag_id=dag_id, run_ids=run_ids):
                existing = {(task.dag_id, task.run_id) for task in self.states} - self.ended_runs
                return frozenset(run_id for run_id in run_ids if (dag_id, run_id) in existing)
        return None

    async def aask(self, question: Any) -> Any:
        """Return the response to a question of a trigger."""
        return self.ask(question)

    @property
    def ledger(self) -> Ledger:
        """The claims in the Variable of the pool."""
        key = variable_key(POOL)
        return Ledger.from_text(self.variables.get(key), key)

    def add(self, claim: Claim, state: str | None) -> None:
        """Add a claim of a task in a state."""
        self.states[claim.task] = state
        self.variables[variable_key(POOL)] = self.ledger.with_claim(claim).to_text()


def _is_chosen(task: TaskKey, dag_id: str, run_ids: set[str], task_ids: set[str]) -> bool:
    return task.dag_id == dag_id and task.run_id in run_ids and task.task_id in task_ids
