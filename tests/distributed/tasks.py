"""What Airflow's database says of the tasks and their triggers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from tests.distributed.cluster import Cluster
    from tests.distributed.gates import Gate

#: A task by its DAG and its id.
TaskKey = tuple[str, str]


class Tasks:
    """
    Everything that runs or waits in a cluster; each task runs in one DAG run only.

    :param cluster: The cluster.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._query = cluster.query

    def states(self) -> dict[TaskKey, str]:
        """Tell the state of each."""
        rows = self._query("SELECT dag_id, task_id, state FROM task_instance")
        return {(dag_id, task_id): state or "none" for dag_id, task_id, state in rows}

    def summary(self) -> str:
        """Count those in each state, for a line of progress."""
        return ", ".join(f"{number} {state}" for state, number in sorted(Counter(self.states().values()).items()))

    def are_all(self, gates: Iterable[Gate], *wanted: str) -> bool:
        """Tell whether all these gates are in one of some states."""
        seen = self.states()
        return all(seen.get(gate.key) in wanted for gate in gates)

    def unfinished(self) -> list[TaskKey]:
        """List those that have not ended."""
        ended = ("success", "failed", "skipped")
        return [key for key, state in self.states().items() if state not in ended]

    def processes(self) -> dict[TaskKey, int]:
        """Tell the process of each that Airflow takes for running."""
        rows = self._query("SELECT dag_id, task_id, pid FROM task_instance WHERE state = 'running' AND pid IS NOT NULL")
        return {(dag_id, task_id): pid for dag_id, task_id, pid in rows}

    def tries(self, task_id: str) -> list[int]:
        """List how often each was tried whose id begins like this."""
        return [
            row[0] for row in self._query("SELECT try_number FROM task_instance WHERE task_id LIKE ?", f"{task_id}%")
        ]

    def rescheduled(self) -> set[TaskKey]:
        """Name those that were rescheduled at least once."""
        return set(self._query("SELECT dag_id, task_id FROM task_reschedule JOIN task_instance ti ON ti.id = ti_id"))

    def rescheduled_since(self, moment: datetime) -> int:
        """Count those that were queued after a moment, have looked, and wait for their next turn."""
        chosen = "SELECT 1 FROM task_instance WHERE state = 'up_for_reschedule' AND queued_dttm > ?"
        return len(self._query(chosen, moment))

    def xcoms(self) -> dict[TaskKey, Any]:
        """Tell what each gate returned."""
        chosen = "SELECT dag_id, task_id, value FROM xcom WHERE key = 'return_value' AND dag_id LIKE ?"
        return {(dag_id, task_id): value for dag_id, task_id, value in self._query(chosen, "gates_%")}

    def living_triggerers(self) -> list[int]:
        """List the jobs of the triggerers that have given a sign of life just now."""
        chosen = "job_type = 'TriggererJob' AND latest_heartbeat > now() - interval '10 seconds'"
        return [row[0] for row in self._query(f"SELECT id FROM job WHERE {chosen}")]

    def deferred_by_triggerer(self) -> Counter[int | None]:
        """Count the deferred gates of each triggerer's job; None has those that nobody cares for."""
        rows = self._query(
            "SELECT triggerer_id FROM task_instance LEFT JOIN trigger ON trigger_id = trigger.id "
            "WHERE task_instance.state = 'deferred' AND dag_id LIKE ?",
            "gates_%",
        )
        return Counter(row[0] for row in rows)

    def triggers_left(self) -> list[str]:
        """List all triggers but the watcher's, which never ends."""
        chosen = "SELECT classpath FROM trigger WHERE classpath NOT LIKE ?"
        return [row[0] for row in self._query(chosen, "%.CreditsCrossingTrigger")]
