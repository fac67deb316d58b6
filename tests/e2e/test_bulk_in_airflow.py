"""Bulk jobs in a running Airflow are submitted and charged once, even if a worker or the triggerer is killed."""

from __future__ import annotations

import csv
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from dev.local_airflow import AIRFLOW_SERIES, AIRFLOW_VERSION, IS_AIRFLOW_3, wait_until
from tests.e2e.bulk_scenarios import ROWS, SCENARIOS
from tests.e2e.conftest import CANARY, wait_for_run_to_end
from tests.e2e.interventions import clear, kill_worker_connected_to, mark
from tests.support.airflow_home import HOME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from dev.local_airflow import LocalAirflow

pytestmark = pytest.mark.e2e

#: Delay of a response in seconds, longer than any scenario takes: the worker waits here until it is killed.
DELAY = 600
BULK = "/bulk/jobs/*"


#: When a worker is killed: the path of the request it is waiting for, and the number of requests to it by then.
MOMENTS = {
    "before_submit": ("/v1/batch/preview-cost", 1),
    "after_submit": ("/bulk/submit", 2),
    "while_waiting": (BULK, 2),
    "while_downloading": (f"{BULK}/download", 1),
}
TRIGGERER_MOMENTS = ("before_submit", "while_waiting", "while_paused")


@pytest.fixture(scope="module")
def runs(airflow: LocalAirflow, accounts: dict[str, Sandbox]) -> Iterator[dict[str, str]]:
    """Start all scenarios, kill their workers or the triggerer, and return the run IDs by scenario."""
    queue_faults(accounts)
    airflow.wait_for_dag(SCENARIOS[-1])
    # Airflow 2 starts tasks slowly, so there each scenario starts when it is needed.
    runs = Runs(airflow, SCENARIOS if IS_AIRFLOW_3 else ())
    for moment in MOMENTS:
        kill_worker(airflow, accounts, runs, moment)
    kill_triggerer(airflow, accounts, runs)
    yield runs
    for scenario in SCENARIOS:
        accounts[scenario].reset()


class Runs(dict[str, str]):
    """Run IDs by scenario. Accessing a scenario that has not been started starts it."""

    def __init__(self, airflow: LocalAirflow, scenarios: Iterable[str]) -> None:
        self._airflow = airflow
        super().__init__({scenario: airflow.trigger(scenario) for scenario in scenarios})

    def __missing__(self, scenario: str) -> str:
        self[scenario] = self._airflow.trigger(scenario)
        return self[scenario]


def queue_faults(accounts: Mapping[str, Sandbox]) -> None:
    for scenario in SCENARIOS:
        accounts[scenario].bulk_speed(paused_clock=True)
    accounts["bulk_killed_before_submit"].fail_next("/v1/batch/preview-cost", delay=DELAY)
    accounts["bulk_killed_after_submit"].fail_next("/bulk/submit", lose_response=True)
    accounts["bulk_killed_after_submit"].fail_next("/bulk/submit", delay=DELAY)
    accounts["bulk_killed_while_waiting"].fail_next(BULK, status=503)
    accounts["bulk_killed_while_waiting"].fail_next(BULK, delay=DELAY)
    accounts["bulk_killed_while_downloading"].bulk_speed()
    accounts["bulk_killed_while_downloading"].fail_next(f"{BULK}/download", delay=DELAY)
    accounts["bulk_triggerer_killed_before_submit"].set_credits(1)


def kill_worker(airflow: LocalAirflow, accounts: Mapping[str, Sandbox], runs: Runs, moment: str) -> None:
    scenario = f"bulk_killed_{moment}"
    account, (path, calls) = accounts[scenario], MOMENTS[moment]
    assert runs[scenario]
    wait_until(lambda: len(account.requests_to(path)) >= calls, 120, f"the request {moment}")
    account.clear_faults()
    kill_worker_connected_to(account, spare=airflow.pid_of("scheduler"))
    account.bulk_speed()


def kill_triggerer(airflow: LocalAirflow, accounts: Mapping[str, Sandbox], runs: Runs) -> None:
    waiting = {f"bulk_triggerer_killed_{moment}": BULK for moment in TRIGGERER_MOMENTS}
    waiting["bulk_triggerer_killed_before_submit"] = "/v1/credits"
    for scenario in waiting:
        wait_until(lambda: airflow.task_states(scenario, runs[scenario]).get("enrich") == ["deferred"], 120, scenario)  # noqa: B023
    accounts["bulk_triggerer_killed_while_paused"].set_credits(5)
    accounts["bulk_triggerer_killed_while_paused"].advance_bulk(ROWS)
    waiting["bulk_triggerer_killed_while_paused"] = "/v1/credits"
    for scenario, path in waiting.items():
        wait_for_another_request(accounts[scenario], path)
    airflow.kill_component("triggerer")
    airflow.start_component("triggerer")
    for scenario, path in waiting.items():
        wait_for_another_request(accounts[scenario], path)
        accounts[scenario].bulk_speed()
        accounts[scenario].set_credits(1000)


@pytest.mark.parametrize("moment", MOMENTS)
def test_killing_the_worker_causes_no_second_charge(
    airflow: LocalAirflow, accounts: dict[str, Sandbox], runs: Runs, moment: str
) -> None:
    scenario = f"bulk_killed_{moment}"

    assert wait_for_run_to_end(airflow, scenario, runs[scenario], 240) == "success"

    assert attempts(airflow, scenario, runs[scenario]) == 2
    assert_each_row_charged_once(accounts[scenario], scenario)


@pytest.mark.parametrize("moment", TRIGGERER_MOMENTS)
def test_killing_the_triggerer_causes_no_second_charge_and_no_cancellation(
    airflow: LocalAirflow, accounts: dict[str, Sandbox], runs: Runs, moment: str
) -> None:
    scenario = f"bulk_triggerer_killed_{moment}"

    assert wait_for_run_to_end(airflow, scenario, runs[scenario], 120) == "success"

    lost = attempts_treated_as_lost(airflow, scenario, runs[scenario])
    assert attempts(airflow, scenario, runs[scenario]) == 1 + lost
    assert accounts[scenario].requests_to(f"{BULK}/review") == []
    assert_each_row_charged_once(accounts[scenario], scenario)


def test_a_job_that_runs_out_of_credits_continues_after_a_top_up(
    airflow: LocalAirflow, accounts: dict[str, Sandbox], runs: Runs
) -> None:
    scenario = "bulk_runs_out_of_credits"
    account, run_id = accounts[scenario], runs[scenario]
    wait_until(lambda: airflow.task_states(scenario, run_id).get("enrich") == ["deferred"], 120, "the deferral")
    account.set_credits(8)
    account.advance_bulk(ROWS)
    account.bulk_speed()
    assert account.credits == 0
    wait_for_another_request(account, "/v1/credits")

    account.add_credits(100)

    assert wait_for_run_to_end(airflow, scenario, run_id, 120) == "success"
    assert account.credits == 100 - (ROWS - 8)
    assert_each_row_charged_once(account, scenario)
    log = log_of(airflow, scenario)
    for sentence in (
        "is paused: 8 / 20 rows (40%), 8 credits used",
        f"Waiting for credits: 12 short (0 spendable, 12 required) on connection '{scenario}'. Next poll in ",
        f"Credits sufficient: 100 spendable, 12 required on connection '{scenario}'.",
        "Resumed bulk job ",
        "is completed: 20 / 20 rows (100%), 20 credits used",
    ):
        assert sentence in log


@pytest.mark.parametrize("moment", ["deferred", "running"])
def test_marking_the_task_as_failed_cancels_the_job(
    airflow: LocalAirflow, accounts: dict[str, Sandbox], runs: Runs, moment: str
) -> None:
    scenario = f"bulk_marked_failed_while_{moment}"
    account, run_id = accounts[scenario], runs[scenario]
    wait_until(lambda: airflow.task_states(scenario, run_id).get("enrich") == [moment], 120, f"the task to be {moment}")
    wait_for_another_request(account, BULK)

    mark(airflow, scenario, run_id, "enrich", "failed")

    wait_until(lambda: statuses(account) == ["canceled"], 60, "the job to be canceled")
    assert airflow.task_states(scenario, run_id)["enrich"] == ["failed"]


def test_a_rejected_repetition_of_an_accepted_submission_joins_the_job(
    airflow: LocalAirflow, accounts: dict[str, Sandbox]
) -> None:
    scenario = "bulk_repeated_submission_refused"
    account = accounts[scenario]
    account.fail_next("/bulk/submit", lose_response=True)
    account.fail_next("/bulk/submit", status=409)
    airflow.wait_for_dag(scenario)

    run_id = airflow.trigger(scenario)

    assert wait_for_run_to_end(airflow, scenario, run_id, 240) == "success"
    assert attempts(airflow, scenario, run_id) == 1
    assert_each_row_charged_once(account, scenario)


def start_run_that_polls(airflow: LocalAirflow, account: Sandbox, scenario: str) -> str:
    """Start a run, wait until its task polls a job that makes no progress, and return the run ID."""
    account.bulk_speed(paused_clock=True)
    airflow.wait_for_dag(scenario)
    run_id = airflow.trigger(scenario)
    wait_until(lambda: airflow.task_states(scenario, run_id).get("enrich") == ["running"], 240, "the task to run")
    wait_for_another_request(account, BULK)
    return run_id


@pytest.mark.skipif(AIRFLOW_SERIES == (3, 0), reason="Airflow 3.0 never restarts a task that is cleared while it runs")
@pytest.mark.skipif(AIRFLOW_VERSION == "3.4.0b2", reason="its scheduler ends when a task is cleared while it runs")
def test_clearing_a_task_while_it_runs_and_again_between_two_attempts_never_leaves_two_running_jobs(
    airflow: LocalAirflow, accounts: dict[str, Sandbox]
) -> None:
    scenario = "bulk_cleared_twice"
    account = accounts[scenario]
    run_id = start_run_that_polls(airflow, account, scenario)

    clear(airflow, scenario, run_id, "enrich")

    wait_until(lambda: attempts(airflow, scenario, run_id) == 2, 120, "the next attempt")
    wait_until(lambda: airflow.task_states(scenario, run_id).get("enrich") == ["running"], 120, "the task to run")
    wait_for_another_request(account, BULK)
    # If a running task is cleared, only Airflow 3 raises max_tries.
    assert statuses(account) == ["canceled"] * IS_AIRFLOW_3 + ["uploaded"]

    account.fail_next(BULK, status=401)
    wait_until(
        lambda: airflow.task_states(scenario, run_id).get("enrich") == ["up_for_retry"], 60, "the failed attempt"
    )
    clear(airflow, scenario, run_id, "enrich")
    wait_until(lambda: len(account.bulk_jobs) == 2 + IS_AIRFLOW_3, 120, "the job of the next attempt")
    account.bulk_speed()

    assert wait_for_run_to_end(airflow, scenario, run_id, 120) == "success"
    assert statuses(account) == ["canceled"] * (1 + IS_AIRFLOW_3) + ["completed"]
    assert account.charges_per_row(account.bulk_jobs[-1].job_id) == Counter(range(ROWS))


def statuses(account: Sandbox) -> list[str]:
    return [job.status for job in account.bulk_jobs]


def test_results_that_come_late_are_delivered_by_a_task_without_retries(
    airflow: LocalAirflow, accounts: dict[str, Sandbox]
) -> None:
    scenario = "bulk_results_come_late"
    account = accounts[scenario]
    account.fail_next(f"{BULK}/download", status=404)
    account.fail_next(f"{BULK}/results", body='{"rows": []}')
    airflow.wait_for_dag(scenario)

    run_id = airflow.trigger(scenario)

    assert wait_for_run_to_end(airflow, scenario, run_id, 240) == "success"
    assert attempts(airflow, scenario, run_id) == 1
    assert_each_row_charged_once(account, scenario)
    assert "Results missing: 20 of 20; reading them again in " in log_of(airflow, scenario)


def test_a_job_that_cannot_be_canceled_is_named_in_the_log_of_the_ended_task(
    airflow: LocalAirflow, accounts: dict[str, Sandbox]
) -> None:
    scenario = "bulk_ended_while_leadmagic_is_down"
    account = accounts[scenario]
    run_id = start_run_that_polls(airflow, account, scenario)
    account.fail_next(f"{BULK}/review", delay=DELAY, times=None)

    mark(airflow, scenario, run_id, "enrich", "failed")

    [job] = account.bulk_jobs
    advice = f'run LeadMagicHook("{scenario}").bulk.cancel("{job.job_id}") to stop it.'
    wait_until(lambda: advice in log_of(airflow, scenario).replace('\\"', '"'), 60, "the advice in the log")
    account.clear_faults()


def test_a_retried_task_has_one_spending_record_in_its_xcom_and_its_asset_event(
    airflow: LocalAirflow, accounts: dict[str, Sandbox]
) -> None:
    scenario = "bulk_reports_its_spending"
    account = accounts[scenario]
    for path in (f"{BULK}/download", f"{BULK}/results"):
        account.fail_next(path, status=400)
    airflow.wait_for_dag(scenario)

    run_id = airflow.trigger(scenario)

    assert wait_for_run_to_end(airflow, scenario, run_id, 240) == "success"
    assert attempts(airflow, scenario, run_id) == 2
    [job] = account.bulk_jobs
    counts = {"rows": ROWS, "succeeded": ROWS, "failed": 0, "skipped": 0}
    record = {"job_id": job.job_id, "conn_id": scenario, "product": "email_finder", "credits": ROWS, **counts}
    assert spending_record(airflow, scenario, run_id) == record
    assert asset_event_extras(airflow, scenario) == [{"leadmagic": record}]


def test_no_rows_or_tokens_appear_in_logs_xcoms_or_triggers(
    airflow: LocalAirflow, accounts: dict[str, Sandbox]
) -> None:
    """Run last, because every scenario must have finished before."""
    tokens = [job.token for scenario in SCENARIOS for job in accounts[scenario].bulk_jobs]
    secrets = [CANARY, *tokens]
    logs = "\n".join(text for _, text in airflow.logs())
    xcoms = str(airflow.query("SELECT value FROM xcom WHERE dag_id LIKE 'bulk_%'"))
    triggers = str(airflow.query("SELECT kwargs FROM trigger"))

    assert len(tokens) >= len(SCENARIOS) - 1
    assert [secret for secret in secrets if secret in logs + xcoms + triggers] == []
    assert "Lead 7" not in log_of(airflow, "bulk_") + xcoms + triggers


def wait_for_another_request(account: Sandbox, path: str) -> None:
    seen = len(account.requests_to(path))
    wait_until(lambda: len(account.requests_to(path)) > seen, 90, f"another request to {path}")


def spending_record(airflow: LocalAirflow, dag_id: str, run_id: str) -> Any:
    if IS_AIRFLOW_3:
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/enrich/xcomEntries/leadmagic"
        return airflow.call("GET", f"{path}?deserialize=true").json()["value"]
    [(value,)] = airflow.query("SELECT value FROM xcom WHERE run_id = ? AND key = 'leadmagic'", run_id)
    return json.loads(value)


def asset_event_extras(airflow: LocalAirflow, dag_id: str) -> list[Any]:
    if IS_AIRFLOW_3:
        events = airflow.call("GET", f"/api/v2/assets/events?source_dag_id={dag_id}").json()["asset_events"]
        return [event["extra"] for event in events]
    extras = airflow.query("SELECT extra FROM dataset_event WHERE source_dag_id = ?", dag_id)
    return [json.loads(extra) for (extra,) in extras]


def attempts(airflow: LocalAirflow, dag_id: str, run_id: str) -> int:
    statement = "SELECT try_number FROM task_instance WHERE dag_id = ? AND run_id = ?"
    return int(airflow.query(statement, dag_id, run_id)[0][0])


def attempts_treated_as_lost(airflow: LocalAirflow, dag_id: str, run_id: str) -> int:
    """Count the attempts that a busy scheduler retried, because their task resumed soon after it had deferred."""
    statement = "SELECT COUNT(*) FROM log WHERE event = 'state mismatch' AND dag_id = ? AND run_id = ?"
    return int(airflow.query(statement, dag_id, run_id)[0][0])


def log_of(airflow: LocalAirflow, dag_id: str) -> str:
    return "\n".join(text for path, text in airflow.logs() if f"dag_id={dag_id}" in str(path))


def assert_each_row_charged_once(account: Sandbox, scenario: str) -> None:
    [job] = account.bulk_jobs
    assert job.status == "completed"
    assert account.charges_per_row(job.job_id) == Counter(range(ROWS))
    with (HOME / "bulk" / f"{scenario}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["crm_id"] for row in rows] == [str(number) for number in range(ROWS)]
    assert all(row["lm_email"] for row in rows)
