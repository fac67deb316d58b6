"""Whether a person ended a task: what each Airflow is asked, and what its answer means."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.bulk.task_state import OVER, state_of
from demo.local_airflow import IS_AIRFLOW_3
from tests.bulk_operator.airflow_part import TaskInstance

if TYPE_CHECKING:
    from unittest.mock import Mock

    from pytest_mock import MockerFixture

only_on_airflow_3 = pytest.mark.skipif(not IS_AIRFLOW_3, reason="Airflow 2 lets tasks ask the database")


@pytest.fixture
def supervisor(mocker: MockerFixture) -> Mock:
    """Answer as the process does through which a task of Airflow 3 asks; the end-to-end tests have a real one."""
    comms = mocker.patch("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", create=True)
    comms.send.return_value = SimpleNamespace(task_states={})
    return comms.send


@pytest.mark.parametrize("state", ["failed", None])
def test_airflow_2_is_asked_by_the_task_instance(state: str | None) -> None:
    assert state_of(SimpleNamespace(current_state=lambda: state)) == state


@only_on_airflow_3
@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ({"run": {"enrich": "failed"}}, "failed"),
        ({"run": {"enrich_3": "failed"}}, "failed"),
        ({"run": {"enrich": None}}, None),
        ({"run": {}}, None),
        ({}, None),
    ],
    ids=str,
)
def test_airflow_3_answers_for_a_run(supervisor: Mock, answer: dict[str, Any], state: str | None) -> None:
    supervisor.return_value = SimpleNamespace(task_states=answer)

    assert state_of(TaskInstance()) == state


@only_on_airflow_3
@pytest.mark.parametrize(("map_index", "asked"), [(-1, None), (None, None), (0, 0), (3, 3)])
def test_airflow_3_is_asked_about_this_task_and_none_that_is_mapped_along_with_it(
    supervisor: Mock, map_index: Any, asked: int | None
) -> None:
    state_of(TaskInstance(map_index=map_index))

    [question] = supervisor.call_args.args
    assert (question.dag_id, question.run_ids, question.task_ids) == ("night", ["run"], ["enrich"])
    assert question.map_index == asked


def test_a_task_is_over_in_no_state_in_which_airflow_lets_it_go_on() -> None:
    goes_on = {"scheduled", "queued", "running", "deferred", "up_for_retry", "up_for_reschedule", "awaiting_input"}

    assert OVER.isdisjoint(goes_on)
