"""Read tasks and triggers from Airflow's database."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from tests.distributed.cluster import Cluster
    from tests.distributed.sensors import Sensor

#: DAG ID and task ID.
TaskKey = tuple[str, str]


class Tasks:
    """
    The tasks of a cluster; each belongs to a single DAG run.

    :param cluster: Cluster whose database is read.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._query = cluster.query

    def states(self) -> dict[TaskKey, str]:
        """Return the state of each task."""
        rows = self._query("SELECT dag_id, task_id, state FROM task_instance")
        return {(dag_id, task_id): state or "none" for dag_id, task_id, state in rows}

    def summary(self) -> str:
        """Return the number of tasks in each state, as text."""
        return ", ".join(f"{number} {state}" for state, number in sorted(Counter(self.states().values()).items()))

    def are_all(self, sensors: Iterable[Sensor], *expected: str) -> bool:
        """Return True if all sensors are in one of the expected states."""
        states = self.states()
        return all(states.get(sensor.key) in expected for sensor in sensors)

    def unfinished(self) -> list[TaskKey]:
        """List the tasks that have not ended."""
        ended = ("success", "failed", "skipped")
        return [key for key, state in self.states().items() if state not in ended]

    def processes(self) -> dict[TaskKey, int]:
        """Return the process ID of each task that Airflow considers running."""
        rows = self._query("SELECT dag_id, task_id, pid FROM task_instance WHERE state = 'running' AND pid IS NOT NULL")
        return {(dag_id, task_id): pid for dag_id, task_id, pid in rows}

    def attempts(self, prefix: str) -> list[int]:
        """List the number of attempts of each task whose ID starts with a prefix."""
        return [
            row[0] for row in self._query("SELECT try_number FROM task_instance WHERE task_id LIKE ?", f"{prefix}%")
        ]

    def rescheduled(self) -> set[TaskKey]:
        """Return the tasks that were rescheduled at least once."""
        return set(self._query("SELECT dag_id, task_id FROM task_reschedule JOIN task_instance ti ON ti.id = ti_id"))

    def rescheduled_since(self, moment: datetime) -> int:
        """Count the sensors that were queued after a point in time, have polled, and are rescheduled again."""
        chosen = "SELECT 1 FROM task_instance WHERE state = 'up_for_reschedule' AND queued_dttm > ?"
        return len(self._query(chosen, moment))

    def xcoms(self) -> dict[TaskKey, Any]:
        """Return the return value of each sensor."""
        chosen = "SELECT dag_id, task_id, value FROM xcom WHERE key = 'return_value' AND dag_id LIKE ?"
        return {(dag_id, task_id): value for dag_id, task_id, value in self._query(chosen, "sensors_%")}

    def living_triggerers(self) -> list[int]:
        """List the job IDs of the triggerers with a recent heartbeat."""
        chosen = "job_type = 'TriggererJob' AND latest_heartbeat > now() - interval '10 seconds'"
        return [row[0] for row in self._query(f"SELECT id FROM job WHERE {chosen}")]

    def deferred_by_triggerer(self) -> Counter[int | None]:
        """Count the deferred sensors by the job ID of their triggerer; None counts those without one."""
        rows = self._query(
            "SELECT triggerer_id FROM task_instance LEFT JOIN trigger ON trigger_id = trigger.id "
            "WHERE task_instance.state = 'deferred' AND dag_id LIKE ?",
            "sensors_%",
        )
        return Counter(row[0] for row in rows)

    def triggers_left(self) -> list[str]:
        """List the remaining triggers, except the watcher's, which never ends."""
        chosen = "SELECT classpath FROM trigger WHERE classpath NOT LIKE ?"
        return [row[0] for row in self._query(chosen, "%.CreditsCrossingTrigger")]
