"""Sensors that claim credits in a running Airflow: no run counts on the credits of another one."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from dev.local_airflow import LocalAirflowError, wait_until
from tests.e2e.claim_scenarios import CLAIMS, FOR_ONE_CLAIM, MISSING, POOLS, SCENARIOS, SHARED
from tests.e2e.conftest import CANARY, tables_with, wait_for_run_to_end
from tests.e2e.interventions import clear, delete_dag, fail_run, kill_worker_connected_to, mark
from tests.support.airflow_home import HOME

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from dev.local_airflow import LocalAirflow

pytestmark = pytest.mark.e2e

LOOKUP = "/v1/people/email-finder"
#: Seconds that a step may take on a busy machine.
LIMIT = 240
#: Delay of a response in seconds, longer than any scenario takes: the worker waits here until it is killed.
DELAY = 600
TOP_UP = 500


@pytest.fixture(scope="module")
def airflow_with_pools(airflow: LocalAirflow) -> LocalAirflow:
    file = HOME / "pools.json"
    file.write_text(json.dumps({name: {"slots": slots, "description": "Claims"} for name, slots in POOLS.items()}))
    airflow.run("pools", "import", str(file))
    airflow.wait_for_dag(f"{SCENARIOS[-1]}_second")
    return airflow


class Runs:
    """The two runs of a scenario: the first one claims credits, and the second one waits for them."""

    def __init__(self, airflow: LocalAirflow, scenario: str) -> None:
        self.airflow, self.scenario = airflow, scenario
        self.ids: dict[str, str] = {}

    def start(self, place: str, state: str | None = None) -> None:
        """Start a run, and wait until its sensor is in a state."""
        self.ids[place] = self.airflow.trigger(self.dag_id(place))
        if state:
            self.wait_for(place, "claim", state)

    def dag_id(self, place: str) -> str:
        return f"{self.scenario}_{place}"

    def states(self, place: str, task_id: str) -> list[str]:
        return self.airflow.task_states(self.dag_id(place), self.ids[place]).get(task_id, [])

    def wait_for(self, place: str, task_id: str, state: str) -> None:
        what = f"{task_id} of {self.dag_id(place)} to be {state}"
        wait_until(lambda: self.states(place, task_id) == [state], LIMIT, what)

    def end_of(self, place: str) -> str:
        return wait_for_run_to_end(self.airflow, self.dag_id(place), self.ids[place], LIMIT)

    def log(self, place: str) -> str:
        logs = (text for path, text in self.airflow.logs() if f"dag_id={self.dag_id(place)}/" in str(path))
        return "\n".join(logs)


@pytest.fixture
def start(airflow_with_pools: LocalAirflow, accounts: dict[str, Sandbox]) -> Callable[[str], Runs]:
    """Return a function that starts a scenario: the first run has claimed 500 of 600 credits, and the second waits."""

    def start_runs(scenario: str) -> Runs:
        runs = Runs(airflow_with_pools, scenario)
        runs.start("first", "success")
        runs.start("second", "deferred")
        return runs

    return start_runs


def wait_for_polls(account: Sandbox, number: int = 2) -> None:
    """Wait until the balance was read a few more times."""
    seen = len(account.requests_to("/v1/credits"))
    wait_until(lambda: len(account.requests_to("/v1/credits")) >= seen + number, LIMIT, "further polls")


def granted(airflow: LocalAirflow, account: str, runs: list[str]) -> list[int]:
    """Return the indexes of the DAGs whose sensor has succeeded."""
    return [
        number
        for number, run_id in enumerate(runs)
        if airflow.task_states(f"{account}_{number}", run_id).get("claim") == ["success"]
    ]


def start_all(airflow: LocalAirflow, account: str) -> list[str]:
    runs = [airflow.trigger(f"{account}_{number}") for number in range(len(CLAIMS))]
    for number, run_id in enumerate(runs):
        dag_id = f"{account}_{number}"
        wait_until(lambda: airflow.task_states(dag_id, run_id).get("claim") == ["deferred"], LIMIT, f"{dag_id} to wait")  # noqa: B023
    return runs


def states(airflow: LocalAirflow, account: str, runs: list[str]) -> list[str]:
    return [airflow.run_state(f"{account}_{number}", run_id) for number, run_id in enumerate(runs)]


def ended(airflow: LocalAirflow, account: str, runs: list[str]) -> bool:
    return set(states(airflow, account, runs)) <= {"success", "failed"}


def test_runs_that_claim_their_credits_never_count_on_those_of_others(
    airflow_with_pools: LocalAirflow, accounts: dict[str, Sandbox]
) -> None:
    airflow, account = airflow_with_pools, accounts[SHARED]
    runs = start_all(airflow, SHARED)
    account.set_credits(FOR_ONE_CLAIM)
    given, deadline = FOR_ONE_CLAIM, time.monotonic() + 2 * LIMIT

    while not ended(airflow, SHARED, runs):
        open_ = granted(airflow, SHARED, runs)
        # A request takes as much from the balance as from the unspent part of its run's claim. So balance minus unspent
        # claims always equals ``given - claimed``, and must not be negative.
        claimed = sum(CLAIMS[number] for number in open_)
        assert claimed <= given
        waiting = set(CLAIMS) - {CLAIMS[number] for number in open_}
        if waiting and given - claimed < min(waiting):
            account.add_credits(FOR_ONE_CLAIM)
            given += FOR_ONE_CLAIM
        if time.monotonic() > deadline:
            raise LocalAirflowError(f"{len(open_)} of {len(CLAIMS)} sensors have succeeded")
        time.sleep(0.2)

    assert states(airflow, SHARED, runs) == ["success"] * len(CLAIMS)
    assert {request.status for request in account.requests_to(LOOKUP)} == {200}
    assert len(account.requests_to(LOOKUP)) == sum(CLAIMS)


def test_without_claims_the_same_runs_fail_half_way(
    airflow_with_pools: LocalAirflow, accounts: dict[str, Sandbox]
) -> None:
    airflow, account = airflow_with_pools, accounts[MISSING]
    runs = start_all(airflow, MISSING)
    wait_for_polls(account)

    account.set_credits(FOR_ONE_CLAIM)

    wait_until(lambda: "failed" in states(airflow, MISSING, runs), LIMIT, "a failed run")
    assert 402 in {request.status for request in account.requests_to(LOOKUP)}
    # A sensor that polls late still waits. It must not wait during other tests.
    account.set_credits(10_000)
    wait_until(lambda: ended(airflow, MISSING, runs), LIMIT, "the end of all runs")
    print(f"Runs without claims: {Counter(states(airflow, MISSING, runs))}")


def test_a_waiting_run_reports_what_others_have_claimed(start: Callable[[str], Runs]) -> None:
    runs = start("claims_run_failed")

    claimed = "500 claimed by 1 run, 500 required) on connection 'claims_run_failed'"
    wait_until(lambda: claimed in runs.log("second"), LIMIT, "the line in the log")

    fail_run(runs.airflow, runs.dag_id("first"), runs.ids["first"])
    assert runs.end_of("first") == "failed"
    runs.wait_for("second", "claim", "success")


def test_a_deleted_dag_claims_nothing(start: Callable[[str], Runs]) -> None:
    runs = start("claims_dag_deleted")
    runs.wait_for("first", "work", "success")

    delete_dag(runs.airflow, runs.dag_id("first"))

    runs.wait_for("second", "claim", "success")


def test_a_cleared_task_spends_under_the_claim_of_its_run(
    start: Callable[[str], Runs], accounts: dict[str, Sandbox]
) -> None:
    runs, account = start("claims_work_cleared"), accounts["claims_work_cleared"]
    runs.wait_for("first", "work", "success")

    clear(runs.airflow, runs.dag_id("first"), runs.ids["first"], "work")
    wait_until(lambda: len(account.requests_to(LOOKUP)) == 2, LIMIT, "the next attempt of the task")
    runs.wait_for("first", "work", "success")
    wait_for_polls(account)

    assert runs.states("second", "claim") == ["deferred"]
    fail_run(runs.airflow, runs.dag_id("first"), runs.ids["first"])
    runs.wait_for("second", "claim", "success")


def test_a_sensor_that_a_person_marks_success_claims_its_credits(
    airflow_with_pools: LocalAirflow, accounts: dict[str, Sandbox]
) -> None:
    runs, account = Runs(airflow_with_pools, "claims_marked_success"), accounts["claims_marked_success"]
    runs.start("first", "deferred")
    mark(runs.airflow, runs.dag_id("first"), runs.ids["first"], "claim", "success")

    runs.start("second", "deferred")
    wait_for_polls(account)

    assert "700 claimed by 1 run" in runs.log("second")
    account.add_credits(700)
    runs.wait_for("second", "claim", "success")


def test_a_claim_ends_with_the_tasks_that_release_it(
    airflow_with_pools: LocalAirflow, accounts: dict[str, Sandbox]
) -> None:
    runs = Runs(airflow_with_pools, "claims_released")
    runs.start("first", "success")

    runs.start("second", "success")

    assert runs.states("first", "work") == ["success"]
    assert runs.airflow.run_state(runs.dag_id("first"), runs.ids["first"]) == "running"


def test_a_later_sensor_of_the_run_replaces_the_claim_of_an_earlier_one(airflow_with_pools: LocalAirflow) -> None:
    runs = Runs(airflow_with_pools, "claims_replaced")
    runs.start("first")

    assert runs.end_of("first") == "success"


def test_each_index_of_a_mapped_sensor_claims_credits(
    airflow_with_pools: LocalAirflow, accounts: dict[str, Sandbox]
) -> None:
    runs, account = Runs(airflow_with_pools, "claims_mapped"), accounts["claims_mapped"]
    runs.start("first")
    wait_until(lambda: sorted(runs.states("first", "claim")) == ["deferred", "success"], LIMIT, "the first index")
    wait_for_polls(account)
    assert sorted(runs.states("first", "claim")) == ["deferred", "success"]

    account.add_credits(TOP_UP)

    wait_until(lambda: runs.states("first", "claim") == ["success"] * 2, LIMIT, "both indexes")


def test_rescheduled_sensors_claim_credits_too(airflow_with_pools: LocalAirflow) -> None:
    runs = Runs(airflow_with_pools, "claims_rescheduled")
    runs.start("first", "success")
    runs.start("second", "up_for_reschedule")

    fail_run(runs.airflow, runs.dag_id("first"), runs.ids["first"])

    runs.wait_for("second", "claim", "success")


def test_a_pool_with_two_slots_fails_the_sensor_with_a_sentence_that_names_the_pool(
    airflow_with_pools: LocalAirflow, accounts: dict[str, Sandbox]
) -> None:
    runs, account = Runs(airflow_with_pools, "claims_two_slots"), accounts["claims_two_slots"]
    runs.start("first", "deferred")
    runs.start("second", "deferred")
    account.fail_next("/v1/credits", delay=20, times=2)

    account.add_credits(2000)

    sentence = "Pool 'claims_two_slots' must have exactly 1 slot"
    wait_until(lambda: sentence in runs.log("first") + runs.log("second"), LIMIT, "the sentence")
    wait_until(lambda: "failed" in (runs.states("first", "claim") + runs.states("second", "claim")), LIMIT, "a failure")


@pytest.mark.slow
def test_a_run_keeps_its_claim_while_a_killed_task_is_retried(
    airflow_with_pools: LocalAirflow, accounts: dict[str, Sandbox]
) -> None:
    runs, account = Runs(airflow_with_pools, "claims_work_killed"), accounts["claims_work_killed"]
    account.fail_next(LOOKUP, delay=DELAY)
    runs.start("first", "success")
    wait_until(lambda: len(account.requests_to(LOOKUP)) == 1, LIMIT, "the request")

    kill_worker_connected_to(account, spare=runs.airflow.pid_of("scheduler"))

    runs.start("second", "deferred")
    runs.wait_for("first", "work", "success")
    wait_for_polls(account)
    assert runs.states("second", "claim") == ["deferred"]
    fail_run(runs.airflow, runs.dag_id("first"), runs.ids["first"])
    runs.wait_for("second", "claim", "success")


@pytest.mark.slow
def test_a_sensor_that_is_killed_after_it_has_written_its_claim_gets_it_once(
    airflow_with_pools: LocalAirflow, accounts: dict[str, Sandbox]
) -> None:
    runs, account = Runs(airflow_with_pools, "claims_sensor_killed"), accounts["claims_sensor_killed"]
    account.fail_next(LOOKUP, delay=DELAY)
    runs.start("first", "running")
    wait_until(lambda: len(account.requests_to(LOOKUP)) == 1, LIMIT, "the request")

    kill_worker_connected_to(account, spare=runs.airflow.pid_of("scheduler"))

    runs.wait_for("first", "claim", "success")
    runs.start("second", "deferred")
    wait_for_polls(account)
    assert runs.states("second", "claim") == ["deferred"]
    fail_run(runs.airflow, runs.dag_id("first"), runs.ids["first"])
    runs.wait_for("second", "claim", "success")


@pytest.mark.slow
def test_claims_survive_a_killed_scheduler_and_a_killed_triggerer(
    start: Callable[[str], Runs], accounts: dict[str, Sandbox]
) -> None:
    runs = start("claims_components_killed")
    runs.wait_for("first", "work", "success")

    for component in ("triggerer", "scheduler"):
        runs.airflow.kill_component(component)
        runs.airflow.start_component(component)

    wait_for_polls(accounts["claims_components_killed"])
    assert runs.states("second", "claim") == ["deferred"]
    fail_run(runs.airflow, runs.dag_id("first"), runs.ids["first"])
    runs.wait_for("second", "claim", "success")


@pytest.mark.slow
def test_a_paused_dag_holds_up_others_only_for_a_while(
    airflow_with_pools: LocalAirflow, accounts: dict[str, Sandbox]
) -> None:
    account = accounts["claims_paused"]
    account.set_credits(1)
    runs = Runs(airflow_with_pools, "claims_paused")
    runs.start("first", "deferred")
    runs.start("second", "deferred")
    airflow_with_pools.run("dags", "pause", "claims_paused_first")
    account.set_credits(600)

    runs.wait_for("second", "claim", "success")

    assert runs.states("first", "claim") != ["success"]
    runs.airflow.run("dags", "unpause", runs.dag_id("first"))


def test_no_api_key_appears_in_logs_or_the_database(
    airflow_with_pools: LocalAirflow, accounts: dict[str, Sandbox]
) -> None:
    """Run last, because every other test of this file must have finished before."""
    assert any(request.api_key_sent for request in accounts[SHARED].requests)
    logs = [text for _, text in airflow_with_pools.logs()]
    assert any("claimed by 1 run" in text for text in logs)

    lines = [line for text in logs for line in text.splitlines() if CANARY in line]

    assert [line for line in lines if "API key logged on purpose:" not in line] == []
    assert tables_with(airflow_with_pools, CANARY) == []
