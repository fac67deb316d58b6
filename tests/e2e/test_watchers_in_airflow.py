"""Asset watchers under a real scheduler and triggerer: DAGs that start when credits arrive, or run low."""

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
LOOK = "/v1/credits"
#: Seconds. If Airflow parses a file in the moment in which a run of its DAG ends, it takes the run for active until it
#: parses the file again (by tests/e2e/conftest.py every 100 s), and starts no other as these DAGs run one at a time.
START_LIMIT = 150


@pytest.fixture
def account(airflow: LocalAirflow, accounts: dict[str, Sandbox]) -> Sandbox:
    """The account that both examples watch, with few credits, as the watchers know."""
    account = accounts["leadmagic_default"]
    for dag_id in (STARTED, ALERTED):
        airflow.wait_for_dag(dag_id)
    set_and_seen(account, 2)
    return account


def test_a_dag_starts_once_for_each_rise_also_when_the_triggerer_dies(airflow: LocalAirflow, account: Sandbox) -> None:
    earlier = runs(airflow, STARTED)

    topped_up = time.time()
    first = run_for_a_rise_to(600, airflow, account)
    print(f"started {started_at(airflow, first) - topped_up:.1f} s after the top-up, with looks {INTERVAL:g} s apart")
    assert started_at(airflow, first) - topped_up <= INTERVAL + 5
    assert xcom(airflow, first, "read_balance") == 600
    assert account.credits == 597

    await_looks(account, 5)
    assert runs(airflow, STARTED) == [*earlier, first]

    airflow.kill_component("triggerer")
    airflow.start_component("triggerer")
    await_looks(account, 3)
    assert runs(airflow, STARTED) == [*earlier, first]

    set_and_seen(account, 2)
    second = run_for_a_rise_to(700, airflow, account)
    assert xcom(airflow, second, "read_balance") == 700
    await_looks(account, 2)
    assert runs(airflow, STARTED) == [*earlier, first, second]


def test_each_level_is_told_once(airflow: LocalAirflow, account: Sandbox) -> None:
    run_for_a_rise_to(2000, airflow, account)
    await_looks(account, 2)
    earlier = runs(airflow, ALERTED)

    told = []
    for balance in (900, 50):
        account.set_credits(balance)
        wait_until(
            lambda: len(runs(airflow, ALERTED)) == len(earlier) + len(told) + 1, START_LIMIT, f"an alert for {balance}"
        )
        run_id = runs(airflow, ALERTED)[-1]
        assert wait_for_run_to_end(airflow, ALERTED, run_id, 90) == "success"
        await_looks(account, 3)
        told.append(xcom(airflow, run_id, "tell_the_team"))

    assert told == [
        ["Warning: 900 LeadMagic credits left, under 1000."],
        ["CRITICAL: 50 LeadMagic credits left, under 100."],
    ]
    assert len(runs(airflow, ALERTED)) == len(earlier) + 2


def test_a_wrong_key_is_loud_once_a_look_and_the_watchers_recover_by_themselves(
    airflow: LocalAirflow, account: Sandbox
) -> None:
    before, looks = len(complaints(airflow)), len(account.requests_to(LOOK))
    account.fail_next(LOOK, status=401, times=None)
    wait_until(lambda: len(complaints(airflow)) >= before + 3, 60, "three complaints")
    assert len(complaints(airflow)) - before <= len(account.requests_to(LOOK)) - looks

    account.clear_faults()

    run_for_a_rise_to(800, airflow, account)


def run_for_a_rise_to(credits_: int, airflow: LocalAirflow, account: Sandbox) -> str:
    """Top the account up, and return the run that this starts once it has ended well."""
    earlier = runs(airflow, STARTED)
    account.set_credits(credits_)
    wait_until(lambda: len(runs(airflow, STARTED)) > len(earlier), START_LIMIT, f"a run for the rise to {credits_}")
    run_id = runs(airflow, STARTED)[-1]
    assert wait_for_run_to_end(airflow, STARTED, run_id, 90) == "success"
    return run_id


def runs(airflow: LocalAirflow, dag_id: str) -> list[str]:
    return [row[0] for row in airflow.query("SELECT run_id FROM dag_run WHERE dag_id = ? ORDER BY id", dag_id)]


def started_at(airflow: LocalAirflow, run_id: str) -> float:
    chosen = "SELECT start_date FROM dag_run WHERE run_id = ?"
    wait_until(lambda: airflow.query(chosen, run_id)[0][0] is not None, 30, "the start of the run")
    return datetime.fromisoformat(airflow.query(chosen, run_id)[0][0]).replace(tzinfo=UTC).timestamp()


def await_looks(account: Sandbox, number: int) -> None:
    """Wait until the watchers have looked so many times more, the last of them in full."""
    wanted = len(account.requests_to(LOOK)) + number
    wait_until(lambda: len(account.requests_to(LOOK)) >= wanted, 90, f"{number} looks")


def set_and_seen(account: Sandbox, credits_: int) -> None:
    """Set the balance, and wait until the watchers certainly know: a look that was under way does not count."""
    account.set_credits(credits_)
    await_looks(account, 2)


def xcom(airflow: LocalAirflow, run_id: str, task_id: str) -> object:
    chosen = "SELECT value FROM xcom WHERE run_id = ? AND task_id = ? AND key = 'return_value'"
    value = airflow.query(chosen, run_id, task_id)[0][0]
    while isinstance(value, str):
        value = json.loads(value)
    return value


def complaints(airflow: LocalAirflow) -> list[str]:
    text = (airflow.home / "triggerer.log").read_text(errors="replace")
    return [line for line in text.splitlines() if "Watcher poll failed" in line]
