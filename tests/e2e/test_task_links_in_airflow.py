"""The links on the page of a task in a running Airflow, including a sensor that is still waiting."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from dev.local_airflow import IS_AIRFLOW_3, wait_until
from tests.e2e.conftest import wait_for_run_to_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from dev.local_airflow import LocalAirflow

pytestmark = pytest.mark.e2e

URLS = {
    "LeadMagic usage": "https://app.leadmagic.io/api/reporting",
    "LeadMagic billing": "https://app.leadmagic.io/settings/billing",
}
CHECKS, WAITING = "sensors_in_every_mode", "waiting_sensor"
STATES = {"check": "success", "check_fails": "failed"}


@pytest.fixture(scope="module")
def checked_run(airflow: LocalAirflow) -> str:
    """Return a run whose checks have ended. Reuse the run of another test, because it also contains many sensors."""
    airflow.wait_for_dag(CHECKS)
    earlier = airflow.query("SELECT run_id FROM dag_run WHERE dag_id = ?", CHECKS)
    run_id = earlier[0][0] if earlier else airflow.trigger(CHECKS)
    wait_until(
        lambda: {id_: state_of(airflow, CHECKS, run_id, id_) for id_ in STATES} == STATES, 240, "the checks to end"
    )
    return run_id


@pytest.fixture
def account(accounts: dict[str, Sandbox]) -> Iterator[Sandbox]:
    """Set the account of the waiting sensor to too few credits."""
    accounts["waiting"].set_credits(1)
    yield accounts["waiting"]
    accounts["waiting"].set_credits(1)


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="needs the web server, which these tests start on Airflow 3 only")
@pytest.mark.parametrize("task_id", STATES)
def test_a_check_has_links_in_success_and_failure(airflow: LocalAirflow, checked_run: str, task_id: str) -> None:
    # Airflow stores the links a moment after the state.
    wait_until(lambda: all(links(airflow, CHECKS, checked_run, task_id).values()), 30, f"the links of {task_id}")

    assert links(airflow, CHECKS, checked_run, task_id) == URLS


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="needs the web server, which these tests start on Airflow 3 only")
def test_a_sensor_has_links_while_it_waits_and_after_it_succeeded(airflow: LocalAirflow, account: Sandbox) -> None:
    airflow.wait_for_dag(WAITING)
    run_id = airflow.trigger(WAITING)

    wait_until(lambda: state_of(airflow, WAITING, run_id, "wait_for_credits") == "deferred", 90, "the deferral")
    wait_until(
        lambda: all(links(airflow, WAITING, run_id, "wait_for_credits").values()), 30, "the links of the waiting sensor"
    )
    assert links(airflow, WAITING, run_id, "wait_for_credits") == URLS
    assert state_of(airflow, WAITING, run_id, "wait_for_credits") == "deferred"

    account.add_credits(100)
    assert wait_for_run_to_end(airflow, WAITING, run_id, 90) == "success"
    assert links(airflow, WAITING, run_id, "wait_for_credits") == URLS


@pytest.mark.skipif(IS_AIRFLOW_3, reason="Airflow 3 reads the links from XCom")
@pytest.mark.parametrize(
    ("dag_id", "task_id"), [(CHECKS, "check"), (WAITING, "wait_for_credits"), ("sixty_sensors", "wait_for_credits")]
)
def test_airflow_2_gets_the_links_from_the_serialized_dag(airflow: LocalAirflow, dag_id: str, task_id: str) -> None:
    from airflow.serialization.serialized_objects import SerializedDAG

    airflow.wait_for_dag(dag_id)
    [(data,)] = airflow.query("SELECT data FROM serialized_dag WHERE dag_id = ?", dag_id)
    task = SerializedDAG.from_dict(json.loads(data)).get_task(task_id)
    task_instance: Any = SimpleNamespace(key=None)  # the URLs are the same for every task, run and attempt

    assert {name: task.get_extra_links(task_instance, name) for name in task.extra_links} == URLS


def links(airflow: LocalAirflow, dag_id: str, run_id: str, task_id: str) -> dict[str, str | None]:
    """Return the links on the page of a task: None for a link that has no URL yet."""
    page = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/links"
    return airflow.call("GET", page).json()["extra_links"]


def state_of(airflow: LocalAirflow, dag_id: str, run_id: str, task_id: str) -> str:
    [state] = airflow.task_states(dag_id, run_id).get(task_id, ["unknown"])
    return state
