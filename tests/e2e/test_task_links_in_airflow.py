"""Links on a task's page under a real Airflow: also, and above all, on the page of a gate that waits for credits."""

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

ADDRESSES = {
    "LeadMagic usage": "https://app.leadmagic.io/api/reporting",
    "LeadMagic billing": "https://app.leadmagic.io/settings/billing",
}
CHECKS, WAITING = "gates_for_real", "waiting_gate"
ENDS = {"check": "success", "check_fails": "failed"}


@pytest.fixture(scope="module")
def checked_run(airflow: LocalAirflow) -> str:
    """A run whose checks have ended: one of another test where there is one, as it holds many gates besides."""
    airflow.wait_for_dag(CHECKS)
    earlier = airflow.query("SELECT run_id FROM dag_run WHERE dag_id = ?", CHECKS)
    run_id = earlier[0][0] if earlier else airflow.trigger(CHECKS)
    wait_until(lambda: {id_: state_of(airflow, CHECKS, run_id, id_) for id_ in ENDS} == ENDS, 240, "the checks to end")
    return run_id


@pytest.fixture
def account(accounts: dict[str, Sandbox]) -> Iterator[Sandbox]:
    """The account that a gate of the tests waits for, with too few credits."""
    accounts["waiting"].set_credits(1)
    yield accounts["waiting"]
    accounts["waiting"].set_credits(1)


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="needs the web server that only Airflow 3 has here")
@pytest.mark.parametrize("task_id", ENDS)
def test_a_check_leads_to_leadmagic_however_it_ended(airflow: LocalAirflow, checked_run: str, task_id: str) -> None:
    # Airflow stores the links a moment after the state.
    wait_until(lambda: all(links(airflow, CHECKS, checked_run, task_id).values()), 30, f"the links of {task_id}")

    assert links(airflow, CHECKS, checked_run, task_id) == ADDRESSES


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="needs the web server that only Airflow 3 has here")
def test_a_gate_leads_to_leadmagic_while_it_waits_and_after_it_opened(airflow: LocalAirflow, account: Sandbox) -> None:
    airflow.wait_for_dag(WAITING)
    run_id = airflow.trigger(WAITING)

    wait_until(lambda: state_of(airflow, WAITING, run_id, "gate") == "deferred", 90, "the deferral")
    wait_until(lambda: all(links(airflow, WAITING, run_id, "gate").values()), 30, "the links of the waiting gate")
    assert links(airflow, WAITING, run_id, "gate") == ADDRESSES
    assert state_of(airflow, WAITING, run_id, "gate") == "deferred"

    account.add_credits(100)
    assert wait_for_run_to_end(airflow, WAITING, run_id, 90) == "success"
    assert links(airflow, WAITING, run_id, "gate") == ADDRESSES


@pytest.mark.skipif(IS_AIRFLOW_3, reason="Airflow 3 shows what the task left as XCom")
@pytest.mark.parametrize(("dag_id", "task_id"), [(CHECKS, "check"), (WAITING, "gate"), ("sixty_gates", "gate")])
def test_airflow_2_finds_the_addresses_by_the_dag_in_its_database(
    airflow: LocalAirflow, dag_id: str, task_id: str
) -> None:
    from airflow.serialization.serialized_objects import SerializedDAG

    airflow.wait_for_dag(dag_id)
    [(data,)] = airflow.query("SELECT data FROM serialized_dag WHERE dag_id = ?", dag_id)
    task = SerializedDAG.from_dict(json.loads(data)).get_task(task_id)
    task_instance: Any = SimpleNamespace(key=None)  # the addresses are the same for every task, run and try

    assert {name: task.get_extra_links(task_instance, name) for name in task.extra_links} == ADDRESSES


def links(airflow: LocalAirflow, dag_id: str, run_id: str, task_id: str) -> dict[str, str | None]:
    """Ask what the page of a task shows: None for a link that leads nowhere yet."""
    page = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/links"
    return airflow.call("GET", page).json()["extra_links"]


def state_of(airflow: LocalAirflow, dag_id: str, run_id: str, task_id: str) -> str:
    [state] = airflow.task_states(dag_id, run_id).get(task_id, ["unknown"])
    return state
