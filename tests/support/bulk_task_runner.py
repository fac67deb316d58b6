"""
Run a bulk enrichment task like Airflow does: its attempts, its deferrals, and the state they share.

The end-to-end tests cover the same with a running Airflow.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import methodcaller
from typing import Any

from airflow_provider_leadmagic.bulk.cancel import JobCanceller
from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator
from tests.support.airflow_names import OutletEventAccessors, TaskDeferred
from tests.support.sensor_runner import wait_for_event


class Killed(BaseException):
    """A killed worker: a BaseException, so that no code of the package handles it."""


def in_new_process(operator: BulkEnrichmentOperator) -> BulkEnrichmentOperator:
    """Return a copy of the operator without the state of other steps, because Airflow runs each in a new process."""
    copied = copy.copy(operator)
    copied._canceller = JobCanceller()
    return copied


class StateStore:
    """The task state store of Airflow 3.3+, which stores values as JSON."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def get(self, key: str) -> Any:
        return json.loads(self._values.get(key, "null"))

    def set(self, key: str, value: Any) -> None:
        self._values[key] = json.dumps(value)


@dataclass
class TaskInstance:
    """The attributes of a task instance that the operator uses."""

    dag_id: str = "night"
    run_id: str = "run"
    task_id: str = "enrich"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 2
    xcoms: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = json.loads(json.dumps(value))


@dataclass
class DagRun:
    """The attributes of a run that the operator uses."""

    start_date: datetime = datetime(2026, 11, 26, 2, tzinfo=UTC)


@dataclass
class Task:
    """
    A task of a DAG run.

    :param operator: The operator of the task.
    :param store: The task state store; None as before Airflow 3.3.
    """

    operator: BulkEnrichmentOperator
    store: StateStore | None = None
    ti: TaskInstance = field(default_factory=TaskInstance)
    dag_run: DagRun = field(default_factory=DagRun)
    logical_date: datetime | None = datetime(2026, 11, 26)
    deferrals: list[str] = field(default_factory=list)
    outlet_events: Any = field(default_factory=OutletEventAccessors)

    @property
    def context(self) -> Any:
        """The entries of the task's context that the operator uses."""
        context = {"ti": self.ti, "task_instance": self.ti, "dag_run": self.dag_run}
        context |= {"logical_date": self.logical_date, "outlet_events": self.outlet_events}
        return {**context, "task_state_store": self.store} if self.store else context

    def run(self) -> dict[str, Any]:
        """Run one attempt with all its deferrals, and return its XCom."""
        self.ti.xcoms.clear()
        context = self.context
        step = methodcaller("execute", context)
        while True:
            try:
                return json.loads(json.dumps(step(in_new_process(self.operator))))
            except TaskDeferred as deferral:
                self.deferrals.append(type(deferral.trigger).__name__)
                step = methodcaller("resume_execution", *wait_for_event(deferral), context)

    def retry(self) -> dict[str, Any]:
        """Run the next attempt, as Airflow does after a failure or a lost worker."""
        self.ti.try_number += 1
        return self.run()

    def clear(self, retries: int = 2) -> None:
        """Clear the task, as Airflow does when a user clears a task that is not running."""
        self.ti.max_tries = self.ti.try_number + retries
