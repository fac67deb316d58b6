"""Asset watchers in a running Airflow: DAGs that start when credits are added or run low."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from dev.local_airflow import IS_AIRFLOW_3, wait_until
from tests.e2e.conftest import wait_for_run_to_end

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from dev.local_airflow import LocalAirflow

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not IS_AIRFLOW_3, reason="Airflow 2 has no asset watchers"),
]

STARTED, ALERTED = "example_leadmagic_start_when_topped_up", "example_leadmagic_low_credits_alert"
INTERVAL = 2.0
BALANCE = "/v1/credits"
#: Seconds. If Airflow parses a DAG file just when a run of the DAG ends, it considers the run active until it parses
#: the file again, which is every 100 s here (see conftest.py). Until then max_active_runs=1 prevents the next run.
START_TIMEOUT = 150


@pytest.fixture
def account(airflow: LocalAirflow, accounts: dict[str, Sandbox]) -> Sandbox:
    """Set the account that both examples watch to 2 credits, and wait until the watchers have polled it."""
    account = accounts["leadmagic_default"]
    for dag_id in (STARTED, ALERTED):
        airflow.wait_for_dag(dag_id)
    set_credits_and_wait_for_polls(account, 2)
    return account


def test_a_dag_starts_once_per_top_up_even_if_the_triggerer_is_killed(airflow: LocalAirflow, account: Sandbox) -> None:
    earlier = runs(airflow, STARTED)

    topped_up = time.time()
    first = run_after_top_up_to(600, airflow, account)
    print(f"started {started_at(airflow, first) - topped_up:.1f} s after the top-up, with a poll every {INTERVAL:g} s")
    assert started_at(airflow, first) - topped_up <= INTERVAL + 5
    assert xcom(airflow, first, "read_balance") == 600
    assert account.credits == 597

    wait_for_polls(account, 5)
    assert runs(airflow, STARTED) == [*earlier, first]

    airflow.kill_component("triggerer")
    airflow.start_component("triggerer")
    wait_for_polls(account, 3)
    assert runs(airflow, STARTED) == [*earlier, first]

    set_credits_and_wait_for_polls(account, 2)
    second = run_after_top_up_to(700, airflow, account)
    assert xcom(airflow, second, "read_balance") == 700
    wait_for_polls(account, 2)
    assert runs(airflow, STARTED) == [*earlier, first, second]


def test_each_alert_level_is_reported_once(airflow: LocalAirflow, account: Sandbox) -> None:
    run_after_top_up_to(2000, airflow, account)
    wait_for_polls(account, 2)
    earlier = runs(airflow, ALERTED)

    alerts = []
    for balance in (900, 50):
        account.set_credits(balance)
        wait_until(
            lambda: len(runs(airflow, ALERTED)) == len(earlier) + len(alerts) + 1,
            START_TIMEOUT,
            f"an alert for {balance}",
        )
        run_id = runs(airflow, ALERTED)[-1]
        assert wait_for_run_to_end(airflow, ALERTED, run_id, 90) == "success"
        wait_for_polls(account, 3)
        alerts.append(xcom(airflow, run_id, "notify_team"))

    assert alerts == [
        ["Warning: 900 LeadMagic credits left, below 1000."],
        ["CRITICAL: 50 LeadMagic credits left, below 100."],
    ]
    assert len(runs(airflow, ALERTED)) == len(earlier) + 2


def test_an_invalid_api_key_is_logged_at_most_once_per_poll_and_the_watchers_recover(
    airflow: LocalAirflow, account: Sandbox
) -> None:
    before, polls = len(poll_errors(airflow)), len(account.requests_to(BALANCE))
    account.fail_next(BALANCE, status=401, times=None)
    wait_until(lambda: len(poll_errors(airflow)) >= before + 3, 60, "three failed polls")
    assert len(poll_errors(airflow)) - before <= len(account.requests_to(BALANCE)) - polls

    account.clear_faults()

    run_after_top_up_to(800, airflow, account)


def run_after_top_up_to(credits_: int, airflow: LocalAirflow, account: Sandbox) -> str:
    """Set a higher balance, wait until the run that this starts has succeeded, and return its ID."""
    earlier = runs(airflow, STARTED)
    account.set_credits(credits_)
    wait_until(
        lambda: len(runs(airflow, STARTED)) > len(earlier), START_TIMEOUT, f"a run after the top-up to {credits_}"
    )
    run_id = runs(airflow, STARTED)[-1]
    assert wait_for_run_to_end(airflow, STARTED, run_id, 90) == "success"
    return run_id


def runs(airflow: LocalAirflow, dag_id: str) -> list[str]:
    return [row[0] for row in airflow.query("SELECT run_id FROM dag_run WHERE dag_id = ? ORDER BY id", dag_id)]


def started_at(airflow: LocalAirflow, run_id: str) -> float:
    statement = "SELECT start_date FROM dag_run WHERE run_id = ?"
    wait_until(lambda: airflow.query(statement, run_id)[0][0] is not None, 30, "the start of the run")
    return datetime.fromisoformat(airflow.query(statement, run_id)[0][0]).replace(tzinfo=UTC).timestamp()


def wait_for_polls(account: Sandbox, number: int) -> None:
    """Wait for a number of further polls by the watchers."""
    wanted = len(account.requests_to(BALANCE)) + number
    wait_until(lambda: len(account.requests_to(BALANCE)) >= wanted, 90, f"{number} polls")


def set_credits_and_wait_for_polls(account: Sandbox, credits_: int) -> None:
    """Set the balance, and wait for two polls: the first may have been in progress before the change."""
    account.set_credits(credits_)
    wait_for_polls(account, 2)


def xcom(airflow: LocalAirflow, run_id: str, task_id: str) -> object:
    statement = "SELECT value FROM xcom WHERE run_id = ? AND task_id = ? AND key = 'return_value'"
    value = airflow.query(statement, run_id, task_id)[0][0]
    while isinstance(value, str):
        value = json.loads(value)
    return value


def poll_errors(airflow: LocalAirflow) -> list[str]:
    text = (airflow.home / "triggerer.log").read_text(errors="replace")
    return [line for line in text.splitlines() if "Watcher poll failed" in line]
