"""Measure sensors under a real Airflow: their polls, the worker slots they occupy, and when they succeed."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from uuid import UUID

from benchmarks.accounts import BenchmarkAccount
from benchmarks.candidates import CANDIDATES, Candidate, WaitsIn
from benchmarks.plan import SETTINGS_VARIABLE, SLOTS, Plan
from benchmarks.shutdown import thread_pool
from benchmarks.slots import SlotLog, watch_slots
from dev.local_airflow import LocalAirflow, LocalAirflowError, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
#: Seconds that a phase may take in addition to the waiting that is measured.
EXTRA_TIME = 300.0


@dataclass(frozen=True)
class WaitResult:
    """
    Measurements of the sensors of one DAG run.

    :param polls: Requests per interval.
    :param slot_seconds: Seconds of occupied worker slots per hour.
    :param first_success: Seconds from the top-up to the end of the first task.
    :param last_success: Seconds from the top-up to the end of the last task.
    """

    polls: float
    slot_seconds: float
    first_success: float
    last_success: float


@dataclass(frozen=True)
class SensorDag:
    """
    A DAG that consists of sensors of one candidate.

    :param candidate: The candidate.
    :param dag_id: ID of the DAG.
    :param sensors: Number of sensors.
    """

    candidate: Candidate
    dag_id: str
    sensors: int


def single_sensor_dags(plan: Plan) -> list[SensorDag]:
    """List the DAGs with one sensor each."""
    return [
        SensorDag(candidate, f"{candidate.name}_alone_{copy}", 1)
        for candidate in CANDIDATES
        for copy in range(plan.copies)
    ]


def many_sensor_dags(plan: Plan) -> list[SensorDag]:
    """List the DAGs with many sensors, without those that would need more worker slots than there are."""
    return [
        SensorDag(candidate, f"{candidate.name}_many", plan.many)
        for candidate in CANDIDATES
        if candidate.waits_in is not WaitsIn.WORKER_SLOT or plan.many <= SLOTS
    ]


class RealRuns:
    """
    A real Airflow with the DAGs of all candidates.

    :param airflow: The running Airflow.
    :param slots: Log of its worker slots.
    :param accounts: LeadMagic accounts by DAG ID.
    :param interval: Seconds between two polls of a sensor.
    """

    def __init__(
        self, airflow: LocalAirflow, slots: SlotLog, accounts: dict[str, BenchmarkAccount], interval: float
    ) -> None:
        self._airflow, self._slots, self._accounts, self._interval = airflow, slots, accounts, interval
        # Two concurrent calls can deadlock in Airflow's API server, which then leaves SQLite locked.
        self._starting_a_run = Lock()

    def measure_together(self, dags: list[SensorDag]) -> list[WaitResult]:
        """Measure several DAGs at the same time."""
        with thread_pool(len(dags)) as pool:
            return list(pool.map(self.measure, dags))

    def measure(self, dag: SensorDag) -> WaitResult:
        """Run a DAG, observe its sensors for one interval, top up, and wait until they succeed."""
        account = self._accounts[dag.dag_id]
        self._airflow.wait_for_dag(dag.dag_id)
        with self._starting_a_run:
            run_id = self._airflow.trigger(dag.dag_id)
        start = self._wait_until_all_wait(dag, run_id, account)
        end = account.next_poll(start + self._interval, self._interval * 2 + EXTRA_TIME)
        topped_up = account.top_up_half_an_interval_after(end, self._interval)
        succeeded = self._wait_until_all_succeed(dag, run_id)
        tasks = self._wait_until_slots_are_free(dag, run_id)
        return WaitResult(
            polls=account.polls_within(start, end) * self._interval / (end - start),
            slot_seconds=self._slots.seconds(tasks, start, end) * 3600 / (end - start),
            first_success=min(succeeded) - topped_up,
            last_success=max(succeeded) - topped_up,
        )

    def _wait_until_all_wait(self, dag: SensorDag, run_id: str, account: BenchmarkAccount) -> float:
        """Wait until all sensors have started, and return the time of the next poll."""
        limit, check = self._interval * 2 + EXTRA_TIME, lambda: self._check(dag, run_id)
        if dag.candidate.waits_in is WaitsIn.TRIGGERER:
            self._wait_until_all_are(dag, run_id, "deferred", EXTRA_TIME)
            self._wait_until_slots_are_free(dag, run_id)
            settled = time.time()
        else:
            # All sensors start within one interval after the very first poll.
            settled = account.next_poll(0.0, limit, check) + self._interval
        return account.next_poll(settled, limit, check)

    def _wait_until_slots_are_free(self, dag: SensorDag, run_id: str) -> list[UUID]:
        tasks = self._tasks(dag, run_id)
        wait_until(lambda: self._slots.is_free_of(tasks), EXTRA_TIME, f"the end of the processes of {dag.dag_id}")
        return tasks

    def _wait_until_all_succeed(self, dag: SensorDag, run_id: str) -> list[float]:
        self._wait_until_all_are(dag, run_id, "success", self._interval * 2 + EXTRA_TIME)
        ends = "SELECT end_date FROM task_instance WHERE dag_id = ? AND run_id = ?"
        return [_unix(value) for (value,) in self._airflow.query(ends, dag.dag_id, run_id)]

    def _wait_until_all_are(self, dag: SensorDag, run_id: str, state: str, limit: float) -> None:
        expected = [state] * dag.sensors
        all_are = lambda: self._states(dag, run_id) == expected  # noqa: E731
        wait_until(all_are, limit, f"all sensors of {dag.dag_id} to be {state}", lambda: self._check(dag, run_id))

    def _check(self, dag: SensorDag, run_id: str) -> None:
        if "failed" in self._states(dag, run_id):
            logs = "\n".join(text for path, text in self._airflow.logs() if f"dag_id={dag.dag_id}" in str(path))
            raise LocalAirflowError(f"a sensor of {dag.dag_id} failed:\n{logs[-3000:]}")

    def _states(self, dag: SensorDag, run_id: str) -> list[str]:
        return [state for states in self._airflow.task_states(dag.dag_id, run_id).values() for state in states]

    def _tasks(self, dag: SensorDag, run_id: str) -> list[UUID]:
        ids = "SELECT id FROM task_instance WHERE dag_id = ? AND run_id = ?"
        return [UUID(value) for (value,) in self._airflow.query(ids, dag.dag_id, run_id)]


@contextmanager
def real_airflow(plan: Plan, folder: Path) -> Iterator[RealRuns]:
    """
    Run an Airflow for all measurements.

    :param plan: How much is measured.
    :param folder: Folder for the files of Airflow.
    """
    dags = single_sensor_dags(plan) + many_sensor_dags(plan)
    with ExitStack() as stack:
        accounts = {dag.dag_id: stack.enter_context(BenchmarkAccount()) for dag in dags}
        settings = _settings(plan, dags, accounts)
        airflow = stack.enter_context(LocalAirflow(folder / "airflow", HERE / "dags", settings))
        slots = stack.enter_context(watch_slots(airflow.pid_of("scheduler"), SLOTS))
        yield RealRuns(airflow, slots, accounts, plan.interval)


def _settings(plan: Plan, dags: list[SensorDag], accounts: dict[str, BenchmarkAccount]) -> dict[str, str]:
    connections = {
        f"AIRFLOW_CONN_{dag.dag_id.upper()}": accounts[dag.dag_id].connection_for(dag.candidate.name) for dag in dags
    }
    return {
        **connections,
        "AIRFLOW__CORE__PARALLELISM": str(SLOTS),
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": str(plan.many),
        # The DAG files do not change; parsing them again would take CPU from the tasks.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
        # Safe mode skips files that do not contain both "dag" and "airflow".
        "AIRFLOW__CORE__DAG_DISCOVERY_SAFE_MODE": "False",
        "PYTHONPATH": str(HERE.parent),  # for the trigger of the handwritten sensor
        SETTINGS_VARIABLE: json.dumps(
            {"interval": plan.interval, "sensors": {dag.dag_id: dag.sensors for dag in dags}}
        ),
    }


def _unix(value: str) -> float:
    return datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp()
