"""Sensors in a running Airflow, with its scheduler and triggerer."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from dev.local_airflow import AIRFLOW_SERIES, IS_AIRFLOW_3, wait_until
from tests.e2e.conftest import CANARY, WRONG_CANARY, tables_with, wait_for_run_to_end

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from dev.local_airflow import LocalAirflow

pytestmark = pytest.mark.e2e

MODES, FLAGS = ("poke", "reschedule", "deferrable"), ("plain", "soft_fail", "never_fail")
STATES = {
    "succeeds": {"plain": "success", "soft_fail": "success", "never_fail": "success"},
    "times_out": {"plain": "failed", "soft_fail": "skipped", "never_fail": "skipped"},
    "wrong_key": {"plain": "failed", "soft_fail": "failed", "never_fail": "skipped"},
    "key_echoed": {"plain": "failed", "soft_fail": "failed", "never_fail": "skipped"},
}


@pytest.fixture(scope="module")
def finished_run(airflow: LocalAirflow) -> str:
    airflow.wait_for_dag("sensors_in_every_mode")
    run_id = airflow.trigger("sensors_in_every_mode")
    wait_for_run_to_end(airflow, "sensors_in_every_mode", run_id, 480)
    return run_id


@pytest.mark.parametrize("case", STATES)
def test_a_sensor_ends_in_the_same_state_in_every_mode(airflow: LocalAirflow, finished_run: str, case: str) -> None:
    states = airflow.task_states("sensors_in_every_mode", finished_run)

    seen = {mode: {flag: states[f"{case}-{mode}-{flag}"][0] for flag in FLAGS} for mode in MODES}

    assert seen == dict.fromkeys(MODES, STATES[case])


def test_a_timeout_is_not_retried_and_an_error_is(airflow: LocalAirflow, finished_run: str) -> None:
    # Counted in the logs, not by try_number: a busy scheduler may start a rescheduled task once more.
    seen = {
        case: [attempts_that_log(airflow, f"{case}-{mode}-plain", error) for mode in MODES]
        for case, error in (("times_out", "AirflowSensorTimeout"), ("wrong_key", "LeadMagicAuthenticationError"))
    }

    assert seen == {"times_out": [1, 1, 1], "wrong_key": [2, 2, 2]}


def test_every_mode_pushes_the_same_xcom(airflow: LocalAirflow, finished_run: str) -> None:
    statement = "SELECT task_id, value FROM xcom WHERE run_id = ? AND key = 'return_value'"
    xcoms = {task_id: read_xcom(value) for task_id, value in airflow.query(statement, finished_run)}

    reports = [xcoms[f"succeeds-{mode}-plain"] for mode in MODES] + [xcoms["check"]]

    assert all(report.pop("observed_at") for report in reports)
    assert reports == [reports[0]] * 4
    assert reports[0]["spendable"] == 1000
    assert xcoms["check_fails"]["sufficient"] is False


def test_a_deferred_sensor_succeeds_after_a_top_up(airflow: LocalAirflow, accounts: dict[str, Sandbox]) -> None:
    dag_id, account = "example_leadmagic_gated_enrichment", accounts["leadmagic_default"]
    airflow.wait_for_dag(dag_id)
    run_id = airflow.trigger(dag_id)
    wait_until(lambda: airflow.task_states(dag_id, run_id).get("wait_for_credits") == ["deferred"], 90, "the deferral")

    account.add_credits(100)

    assert wait_for_run_to_end(airflow, dag_id, run_id, 90) == "success"
    assert account.credits == 98


def test_a_deferred_sensor_survives_a_killed_triggerer(airflow: LocalAirflow, accounts: dict[str, Sandbox]) -> None:
    airflow.wait_for_dag("waiting_sensor")
    run_id = airflow.trigger("waiting_sensor")
    seen = accounts["waiting"].requests_to
    wait_until(lambda: len(seen("/v1/credits")) >= 2, 90, "a poll of the triggerer")
    deadline = "SELECT trigger_timeout FROM task_instance WHERE run_id = ?"
    before = airflow.query(deadline, run_id)

    airflow.kill_component("triggerer")
    airflow.start_component("triggerer")
    polls = len(seen("/v1/credits"))
    wait_until(lambda: len(seen("/v1/credits")) > polls, 120, "a poll of the new triggerer")
    assert airflow.query(deadline, run_id) == before
    accounts["waiting"].add_credits(100)

    assert wait_for_run_to_end(airflow, "waiting_sensor", run_id, 60) == "success"


@pytest.mark.skipif(
    not IS_AIRFLOW_3, reason="with SQLite, the scheduler of Airflow 2 takes minutes to defer sixty tasks"
)
def test_sixty_sensors_share_one_poll_hold_no_worker_and_resume_soon_after_a_top_up(
    airflow: LocalAirflow, accounts: dict[str, Sandbox]
) -> None:
    airflow.wait_for_dag("sixty_sensors")
    run_id = airflow.trigger("sixty_sensors")
    account, interval, intervals = accounts["sixty"], 10, 3
    wait_until(lambda: sensor_states(airflow, run_id) == ["deferred"] * 60, 240, "sixty deferrals")
    wait_until(lambda: running_triggers(airflow) == 60, 60, "sixty triggers")

    before = len(account.requests)
    time.sleep(interval * intervals)
    cost = len(account.requests) - before
    assert sensor_states(airflow, run_id) == ["deferred"] * 60
    assert airflow.query("SELECT COUNT(*) FROM task_instance WHERE state IN ('running', 'queued')") == [(0,)]

    account.add_credits(1000)
    topped_up = time.monotonic()
    wait_until(
        lambda: "deferred" not in sensor_states(airflow, run_id), 120, "sixty sensors that are no longer deferred"
    )
    resumed_after = time.monotonic() - topped_up
    wait_until(lambda: sensor_states(airflow, run_id) == ["success"] * 60, 120, "sixty successful sensors")
    succeeded_after = time.monotonic() - topped_up

    print(f"60 sensors: {cost} requests in {intervals} intervals of {interval} s")
    # How long Airflow then takes to run the sixty tasks depends on the machine.
    print(f"all resumed {resumed_after:.1f} s after the top-up, and succeeded {succeeded_after:.1f} s after it")
    assert cost <= intervals * 1.2
    assert resumed_after <= 20


def test_no_api_key_appears_in_logs_or_the_database(
    airflow: LocalAirflow, accounts: dict[str, Sandbox], finished_run: str
) -> None:
    """Run last, because every other test of this file must have finished before."""
    assert any(request.api_key_sent for request in accounts["rich"].requests)
    logs = dict(airflow.logs())
    assert any("Access denied (403): " in text for text in logs.values())

    lines = [line for text in logs.values() for line in text.splitlines() if CANARY in line or WRONG_CANARY in line]

    assert [line for line in lines if "API key logged on purpose:" not in line] == []
    # The search finds the key that a task has logged on purpose, so it would find a leaked one too. Airflow before 3.2
    # always masks it.
    assert bool(lines) is (AIRFLOW_SERIES >= (3, 2))
    assert tables_with(airflow, CANARY) == tables_with(airflow, WRONG_CANARY) == []


def attempts_that_log(airflow: LocalAirflow, task_id: str, text: str) -> int:
    return sum(1 for path, log in airflow.logs() if f"task_id={task_id}" in str(path) and text in log)


def sensor_states(airflow: LocalAirflow, run_id: str) -> list[str]:
    return airflow.task_states("sixty_sensors", run_id).get("wait_for_credits", [])


def running_triggers(airflow: LocalAirflow) -> int:
    # Only sensor triggers, because the examples have watchers, which never end.
    statement = (
        "SELECT COUNT(*) FROM trigger WHERE triggerer_id IS NOT NULL AND classpath LIKE '%.SufficientCreditsTrigger'"
    )
    return int(airflow.query(statement)[0][0])


def read_xcom(value: Any) -> dict[str, Any]:
    """Decode an XCom value. Airflow 3 stores JSON in a JSON column, so SQLite may return JSON encoded twice."""
    while not isinstance(value, dict):
        value = json.loads(value)
    return value
