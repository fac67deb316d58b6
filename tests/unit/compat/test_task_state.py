"""The state of a task, how each Airflow version is asked for it, its IDs, and its outlet assets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock, Mock

import pytest

from airflow_provider_leadmagic.compat.task_state import OVER, asset_outlets, astate_of, current_task, state_of
from dev.local_airflow import IS_AIRFLOW_3
from tests.support.airflow_names import Asset, AssetAlias, set_current_context
from tests.support.bulk_task_runner import TaskInstance

if TYPE_CHECKING:
    from pytest_mock import MockerFixture

ReadState = Callable[[Any], str | None]

only_on_airflow_3 = pytest.mark.skipif(not IS_AIRFLOW_3, reason="in Airflow 2 tasks have access to the database")


def state_from_triggerer(task_instance: Any) -> str | None:
    return asyncio.run(astate_of(task_instance))


from_worker_and_triggerer = pytest.mark.parametrize("read_state", [state_of, state_from_triggerer])


@pytest.fixture
def supervisor(mocker: MockerFixture) -> Callable[[dict[str, Any]], list[Any]]:
    """Replace the supervisor process of Airflow 3; the end-to-end tests use a real one."""
    comms = mocker.patch("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", create=True)

    def respond_with(states: dict[str, Any]) -> list[Any]:
        from airflow.sdk.execution_time.comms import TaskStatesResult

        requests: list[Any] = []
        comms.send = lambda request: requests.append(request) or TaskStatesResult(task_states=states)
        comms.asend = AsyncMock(side_effect=comms.send)
        return requests

    return respond_with


@from_worker_and_triggerer
@pytest.mark.parametrize("state", ["failed", None])
def test_on_airflow_2_the_task_instance_returns_the_state(read_state: ReadState, state: str | None) -> None:
    assert read_state(SimpleNamespace(current_state=lambda: state)) == state


@only_on_airflow_3
@from_worker_and_triggerer
@pytest.mark.parametrize(
    ("response", "state"),
    [
        ({"run": {"enrich": "failed"}}, "failed"),
        ({"run": {"enrich_3": "failed"}}, "failed"),
        ({"run": {"enrich": None}}, None),
        ({"run": {}}, "removed"),
        ({}, "removed"),
    ],
    ids=str,
)
def test_on_airflow_3_the_supervisor_returns_the_states_of_a_run(
    supervisor: Callable[..., Any], read_state: ReadState, response: dict[str, Any], state: str | None
) -> None:
    supervisor(response)

    assert read_state(TaskInstance()) == state


@only_on_airflow_3
@from_worker_and_triggerer
@pytest.mark.parametrize(("map_index", "requested"), [(-1, None), (None, None), (0, 0), (3, 3)])
def test_on_airflow_3_only_the_state_of_this_mapped_task_is_requested(
    supervisor: Callable[..., list[Any]], read_state: ReadState, map_index: Any, requested: int | None
) -> None:
    requests = supervisor({})

    read_state(TaskInstance(map_index=map_index))

    [request] = requests
    assert (request.dag_id, request.run_ids, request.task_ids) == ("night", ["run"], ["enrich"])
    assert request.map_index == requested


@only_on_airflow_3
def test_the_response_to_a_request_that_the_signal_interrupted_is_skipped(supervisor: Callable[..., Any]) -> None:
    supervisor({"run": {"enrich": "failed"}})
    from airflow.sdk.execution_time import task_runner

    comms = task_runner.SUPERVISOR_COMMS
    comms._get_response = Mock(return_value=comms.send(None))
    comms.send = Mock(return_value=None)

    assert state_of(TaskInstance()) == "failed"


@only_on_airflow_3
def test_a_triggerer_requests_the_state_on_its_event_loop_because_airflow_3_0_does_not_respond_to_threads(
    supervisor: Callable[..., Any],
) -> None:
    requested_on: list[int] = []
    supervisor({})
    from airflow.sdk.execution_time import task_runner

    respond = task_runner.SUPERVISOR_COMMS.asend.side_effect

    def asend(request: Any) -> Any:
        requested_on.append(threading.get_ident())
        return respond(request)

    task_runner.SUPERVISOR_COMMS.asend.side_effect = asend

    state_from_triggerer(TaskInstance())

    assert requested_on == [threading.get_ident()]


def test_no_state_in_which_a_task_continues_counts_as_over() -> None:
    continues = {
        "scheduled",
        "queued",
        "running",
        "deferred",
        "up_for_retry",
        "up_for_reschedule",
        "awaiting_input",
        "restarting",
    }

    assert OVER.isdisjoint(continues)


def test_the_running_task_is_known_by_its_ids() -> None:
    with set_current_context({"ti": TaskInstance(dag_id="night", task_id="group.look_up")}):
        assert current_task() == {"dag_id": "night", "task_id": "group.look_up"}


def test_outside_a_task_there_are_no_ids() -> None:
    assert current_task() == {}


def test_events_of_assets_get_an_extra_from_the_task_but_not_those_of_aliases_or_other_objects() -> None:
    asset, alias = Asset("x-leads://found"), AssetAlias("leads")

    assert asset_outlets([asset, alias, "x-leads://text", object()]) == [asset]


@only_on_airflow_3
def test_events_of_references_to_assets_get_an_extra_from_the_task() -> None:
    references = [Asset.ref(name="leads"), Asset.ref(uri="x-leads://found")]

    assert asset_outlets(references) == references
