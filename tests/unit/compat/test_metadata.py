"""Questions to the supervisor of Airflow 3; the end-to-end tests ask a real one, and the database of Airflow 2."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.compat.metadata import ReadTaskStates, TaskKey, ask
from dev.local_airflow import IS_AIRFLOW_3

if TYPE_CHECKING:
    from pytest_mock import MockerFixture

pytestmark = pytest.mark.skipif(not IS_AIRFLOW_3, reason="Airflow 2 has no supervisor")


def test_the_index_of_a_mapped_task_is_not_taken_for_a_task_with_the_same_suffix(mocker: MockerFixture) -> None:
    states = {TaskKey("dag", "run", "claim", 0): "success", TaskKey("dag", "run", "claim_0"): "failed"}
    supervisor = mocker.patch("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", create=True)
    supervisor.send.side_effect = lambda message: response_of_airflow(states, message)

    assert ask(ReadTaskStates("dag", ("run",), ("claim", "claim_0"))) == states


def response_of_airflow(states: dict[TaskKey, str], message: Any) -> Any:
    """Respond as Airflow does, which appends the index of a mapped task to its ID."""
    by_run: dict[str, dict[str, str]] = {}
    for task, state in states.items():
        if task.run_id in message.run_ids and task.task_id in message.task_ids:
            name = task.task_id if task.map_index < 0 else f"{task.task_id}_{task.map_index}"
            by_run.setdefault(task.run_id, {})[name] = state
    return SimpleNamespace(task_states=by_run, error=None)
