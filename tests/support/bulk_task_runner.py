"""
Plays Airflow's part for a task that orders a bulk job: each try, each deferral, and what outlives them.

What this one does is checked by the end-to-end tests against a running Airflow.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from operator import methodcaller
from typing import Any

from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator
from tests.support.airflow_names import TaskDeferred
from tests.support.sensor_runner import wait_for_event


class Killed(BaseException):
    """A worker dies: no code of ours catches this, as none would run."""


class StateStore:
    """Keeps values as JSON, as Airflow 3.3+ does."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def get(self, key: str) -> Any:
        return json.loads(self._values.get(key, "null"))

    def set(self, key: str, value: Any) -> None:
        self._values[key] = json.dumps(value)


@dataclass
class TaskInstance:
    """As much of a task instance as the operator asks for."""

    dag_id: str = "night"
    run_id: str = "run"
    task_id: str = "enrich"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 2


@dataclass
class Task:
    """
    A task in Airflow's hands.

    :param operator: What runs.
    :param store: Its state store; None as before Airflow 3.3.
    """

    operator: BulkEnrichmentOperator
    store: StateStore | None = None
    ti: TaskInstance = field(default_factory=TaskInstance)
    deferrals: list[str] = field(default_factory=list)

    def run(self) -> dict[str, Any]:
        """Run one try to its end, and return its XCom."""
        context: Any = {"ti": self.ti, "task_instance": self.ti}
        if self.store:
            context["task_state_store"] = self.store
        step = methodcaller("execute", context)
        while True:
            try:
                # Each step is a new process, which knows nothing of the one before.
                return json.loads(json.dumps(step(copy.copy(self.operator))))
            except TaskDeferred as deferral:
                self.deferrals.append(type(deferral.trigger).__name__)
                step = methodcaller("resume_execution", *wait_for_event(deferral), context)

    def retry(self) -> dict[str, Any]:
        """Run the next try, as Airflow does after a failure and after a lost worker."""
        self.ti.try_number += 1
        return self.run()

    def clear(self, retries: int = 2) -> None:
        """Do what Airflow does when a person clears a task that does not run."""
        self.ti.max_tries = self.ti.try_number + retries
