"""Gates that wait under a real Airflow: their looks, the worker slots they take, and when they open."""

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
from benchmarks.contenders import CONTENDERS, Contender, Waits
from benchmarks.impatient import impatient_threads
from benchmarks.plan import SETTING, SLOTS, Plan
from benchmarks.slots import SlotLog, watched_slots
from dev.local_airflow import LocalAirflow, LocalAirflowError, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
#: Seconds that a phase may take beside the waiting that is meant.
PATIENCE = 300.0


@dataclass(frozen=True)
class Waited:
    """
    How gates waited together.

    :param looks: Requests in an interval.
    :param slot_seconds: Seconds for which they occupy worker slots, in an hour.
    :param first_open: Seconds from the top-up to the end of the first gate.
    :param last_open: Seconds from the top-up to the end of the last gate.
    """

    looks: float
    slot_seconds: float
    first_open: float
    last_open: float


@dataclass(frozen=True)
class WaitingDag:
    """
    A DAG of a contender.

    :param contender: Whose gates they are.
    :param dag_id: The DAG.
    :param gates: How many there are.
    """

    contender: Contender
    dag_id: str
    gates: int


def lonely_dags(plan: Plan) -> list[WaitingDag]:
    """List the DAGs with one gate each."""
    return [
        WaitingDag(contender, f"{contender.name}_alone_{copy}", 1)
        for contender in CONTENDERS
        for copy in range(plan.copies)
    ]


def crowded_dags(plan: Plan) -> list[WaitingDag]:
    """List the DAGs with many gates, but for gates that wait on workers: there are not as many slots."""
    return [
        WaitingDag(contender, f"{contender.name}_many", plan.many)
        for contender in CONTENDERS
        if contender.waits is not Waits.ON_A_WORKER or plan.many <= SLOTS
    ]


class RealRuns:
    """
    A real Airflow with the DAGs of all contenders.

    :param airflow: The Airflow.
    :param slots: Who is at its worker slots.
    :param accounts: An account for each DAG.
    :param interval: Seconds from one look of a gate to the next.
    """

    def __init__(
        self, airflow: LocalAirflow, slots: SlotLog, accounts: dict[str, BenchmarkAccount], interval: float
    ) -> None:
        self._airflow, self._slots, self._accounts, self._interval = airflow, slots, accounts, interval
        # Two such calls at once can wait for each other in Airflow's API server, where SQLite then stays locked.
        self._starting_a_run = Lock()

    def measure_together(self, dags: list[WaitingDag]) -> list[Waited]:
        """Measure some DAGs at the same time."""
        with impatient_threads(len(dags)) as pool:
            return list(pool.map(self.measure, dags))

    def measure(self, dag: WaitingDag) -> Waited:
        """Start the gates of a DAG, watch them for an interval, top up, and see them open."""
        account = self._accounts[dag.dag_id]
        self._airflow.wait_for_dag(dag.dag_id)
        with self._starting_a_run:
            run_id = self._airflow.trigger(dag.dag_id)
        began = self._wait_until_all_wait(dag, run_id, account)
        ended = account.next_look(began + self._interval, self._interval * 2 + PATIENCE)
        topped_up = account.top_up_half_an_interval_after(ended, self._interval)
        opened = self._wait_until_all_are_open(dag, run_id)
        tasks = self._wait_until_slots_are_free(dag, run_id)
        return Waited(
            looks=account.looks_within(began, ended) * self._interval / (ended - began),
            slot_seconds=self._slots.seconds(tasks, began, ended) * 3600 / (ended - began),
            first_open=min(opened) - topped_up,
            last_open=max(opened) - topped_up,
        )

    def _wait_until_all_wait(self, dag: WaitingDag, run_id: str, account: BenchmarkAccount) -> float:
        """Wait until the gates do nothing but wait, and tell when they looked next."""
        limit, check = self._interval * 2 + PATIENCE, lambda: self._check(dag, run_id)
        if dag.contender.waits is Waits.IN_THE_TRIGGERER:
            self._wait_until_all_are(dag, run_id, "deferred", PATIENCE)
            self._wait_until_slots_are_free(dag, run_id)
            settled = time.time()
        else:
            # In the interval after the first look of all, the others start.
            settled = account.next_look(0.0, limit, check) + self._interval
        return account.next_look(settled, limit, check)

    def _wait_until_slots_are_free(self, dag: WaitingDag, run_id: str) -> list[UUID]:
        tasks = self._tasks(dag, run_id)
        wait_until(lambda: self._slots.is_free_of(tasks), PATIENCE, f"the end of the processes of {dag.dag_id}")
        return tasks

    def _wait_until_all_are_open(self, dag: WaitingDag, run_id: str) -> list[float]:
        self._wait_until_all_are(dag, run_id, "success", self._interval * 2 + PATIENCE)
        chosen = "SELECT end_date FROM task_instance WHERE dag_id = ? AND run_id = ?"
        return [_unix(value) for (value,) in self._airflow.query(chosen, dag.dag_id, run_id)]

    def _wait_until_all_are(self, dag: WaitingDag, run_id: str, state: str, limit: float) -> None:
        wanted = [state] * dag.gates
        are_so = lambda: self._states(dag, run_id) == wanted  # noqa: E731
        wait_until(are_so, limit, f"all gates of {dag.dag_id} to be {state}", lambda: self._check(dag, run_id))

    def _check(self, dag: WaitingDag, run_id: str) -> None:
        if "failed" in self._states(dag, run_id):
            logs = "\n".join(text for path, text in self._airflow.logs() if f"dag_id={dag.dag_id}" in str(path))
            raise LocalAirflowError(f"a gate of {dag.dag_id} failed:\n{logs[-3000:]}")

    def _states(self, dag: WaitingDag, run_id: str) -> list[str]:
        return [state for states in self._airflow.task_states(dag.dag_id, run_id).values() for state in states]

    def _tasks(self, dag: WaitingDag, run_id: str) -> list[UUID]:
        chosen = "SELECT id FROM task_instance WHERE dag_id = ? AND run_id = ?"
        return [UUID(value) for (value,) in self._airflow.query(chosen, dag.dag_id, run_id)]


@contextmanager
def real_airflow(plan: Plan, folder: Path) -> Iterator[RealRuns]:
    """
    Start an Airflow for all real runs.

    :param plan: How much is measured.
    :param folder: Where it may write.
    """
    dags = lonely_dags(plan) + crowded_dags(plan)
    with ExitStack() as stack:
        accounts = {dag.dag_id: stack.enter_context(BenchmarkAccount()) for dag in dags}
        settings = _settings(plan, dags, accounts)
        airflow = stack.enter_context(LocalAirflow(folder / "airflow", HERE / "dags", settings))
        slots = stack.enter_context(watched_slots(airflow.pid_of("scheduler"), SLOTS))
        yield RealRuns(airflow, slots, accounts, plan.interval)


def _settings(plan: Plan, dags: list[WaitingDag], accounts: dict[str, BenchmarkAccount]) -> dict[str, str]:
    connections = {
        f"AIRFLOW_CONN_{dag.dag_id.upper()}": accounts[dag.dag_id].connection_for(dag.contender.name) for dag in dags
    }
    return {
        **connections,
        "AIRFLOW__CORE__PARALLELISM": str(SLOTS),
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": str(plan.many),
        # Parsing again what does not change would take time from the tasks now and then.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
        "AIRFLOW__CORE__DAG_DISCOVERY_SAFE_MODE": "False",  # it looks for words that these files need not have
        "PYTHONPATH": str(HERE.parent),  # for the trigger of the sensor that is written by hand
        SETTING: json.dumps({"interval": plan.interval, "gates": {dag.dag_id: dag.gates for dag in dags}}),
    }


def _unix(value: str) -> float:
    return datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp()
