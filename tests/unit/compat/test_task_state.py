"""Whether a person ended a task: what each Airflow is asked, and what its answer means."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock, Mock

import pytest

from airflow_provider_leadmagic.compat.task_state import OVER, astate_of, state_of
from dev.local_airflow import IS_AIRFLOW_3
from tests.support.bulk_task_runner import TaskInstance

if TYPE_CHECKING:
    from pytest_mock import MockerFixture

Ask = Callable[[Any], str | None]

only_on_airflow_3 = pytest.mark.skipif(not IS_AIRFLOW_3, reason="Airflow 2 lets tasks ask the database")


def from_the_triggerer(task_instance: Any) -> str | None:
    return asyncio.run(astate_of(task_instance))


everywhere = pytest.mark.parametrize("ask", [state_of, from_the_triggerer])


@pytest.fixture
def supervisor(mocker: MockerFixture) -> Callable[[dict[str, Any]], list[Any]]:
    """Answer as the process does through which Airflow 3 is asked; the end-to-end tests have a real one."""
    comms = mocker.patch("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", create=True)

    def answer_with(states: dict[str, Any]) -> list[Any]:
        from airflow.sdk.execution_time.comms import TaskStatesResult

        questions: list[Any] = []
        comms.send = lambda question: questions.append(question) or TaskStatesResult(task_states=states)
        comms.asend = AsyncMock(side_effect=comms.send)
        return questions

    return answer_with


@everywhere
@pytest.mark.parametrize("state", ["failed", None])
def test_airflow_2_is_asked_by_the_task_instance(ask: Ask, state: str | None) -> None:
    assert ask(SimpleNamespace(current_state=lambda: state)) == state


@only_on_airflow_3
@everywhere
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
def test_airflow_3_answers_for_a_run(
    supervisor: Callable[..., Any], ask: Ask, answer: dict[str, Any], state: str | None
) -> None:
    supervisor(answer)

    assert ask(TaskInstance()) == state


@only_on_airflow_3
@everywhere
@pytest.mark.parametrize(("map_index", "asked"), [(-1, None), (None, None), (0, 0), (3, 3)])
def test_airflow_3_is_asked_about_this_task_and_none_that_is_mapped_along_with_it(
    supervisor: Callable[..., list[Any]], ask: Ask, map_index: Any, asked: int | None
) -> None:
    questions = supervisor({})

    ask(TaskInstance(map_index=map_index))

    [question] = questions
    assert (question.dag_id, question.run_ids, question.task_ids) == ("night", ["run"], ["enrich"])
    assert question.map_index == asked


@only_on_airflow_3
def test_an_answer_to_what_the_signal_interrupted_is_passed_over(supervisor: Callable[..., Any]) -> None:
    supervisor({"run": {"enrich": "failed"}})
    from airflow.sdk.execution_time import task_runner

    comms = task_runner.SUPERVISOR_COMMS
    comms._get_response = Mock(return_value=comms.send(None))
    comms.send = Mock(return_value=None)

    assert state_of(TaskInstance()) == "failed"


@only_on_airflow_3
def test_a_triggerer_is_asked_on_its_event_loop_as_that_of_airflow_3_0_answers_no_thread(
    supervisor: Callable[..., Any],
) -> None:
    asked_on: list[int] = []
    supervisor({})
    from airflow.sdk.execution_time import task_runner

    answer = task_runner.SUPERVISOR_COMMS.asend.side_effect
    task_runner.SUPERVISOR_COMMS.asend.side_effect = lambda it: asked_on.append(threading.get_ident()) or answer(it)

    from_the_triggerer(TaskInstance())

    assert asked_on == [threading.get_ident()]


def test_a_task_is_over_in_no_state_in_which_airflow_lets_it_go_on() -> None:
    goes_on = {"scheduled", "queued", "running", "deferred", "up_for_retry", "up_for_reschedule", "awaiting_input"}

    assert OVER.isdisjoint(goes_on)
