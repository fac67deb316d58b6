"""Bulk jobs under a real scheduler and triggerer: ordered and charged once, whatever is killed, whoever ends them."""

from __future__ import annotations

import csv
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from dev.local_airflow import IS_AIRFLOW_3, wait_until
from tests.e2e.bulk_scenarios import ROWS, STORIES
from tests.e2e.conftest import CANARY, wait_for_run_to_end
from tests.e2e.interventions import kill_whoever_talks_to, mark_failed
from tests.support.airflow_home import HOME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from dev.local_airflow import LocalAirflow

pytestmark = pytest.mark.e2e

#: Seconds, longer than any story takes: whoever is held up this long waits to be killed.
HELD_UP = 600
BULK = "/bulk/jobs/*"


#: What a worker is about to do when it is killed: the path that it waits at, and how many calls that takes.
MOMENTS = {
    "before_submit": ("/v1/batch/preview-cost", 1),
    "after_submit": ("/bulk/submit", 2),
    "while_waiting": (BULK, 2),
    "while_downloading": (f"{BULK}/download", 1),
}
TRIGGERER_MOMENTS = ("before_submit", "while_waiting", "while_paused")


@pytest.fixture(scope="module")
def runs(airflow: LocalAirflow, accounts: dict[str, Sandbox]) -> Iterator[dict[str, str]]:
    """Start every story, let its catastrophe happen, and tell the runs by the stories."""
    prepare(accounts)
    airflow.wait_for_dag(STORIES[-1])
    # The executor that Airflow 2 has here works on one task at a time: there each story begins when it is needed.
    runs = Runs(airflow, STORIES if IS_AIRFLOW_3 else ())
    for moment in MOMENTS:
        kill_worker(airflow, accounts, runs, moment)
    kill_triggerer(airflow, accounts, runs)
    yield runs
    for story in STORIES:
        accounts[story].reset()


class Runs(dict[str, str]):
    """The runs that were started; asking for another starts it."""

    def __init__(self, airflow: LocalAirflow, stories: Iterable[str]) -> None:
        self._airflow = airflow
        super().__init__({story: airflow.trigger(story) for story in stories})

    def __missing__(self, story: str) -> str:
        self[story] = self._airflow.trigger(story)
        return self[story]


def prepare(accounts: Mapping[str, Sandbox]) -> None:
    for story in STORIES:
        accounts[story].bulk_speed(paused_clock=True)
    accounts["bulk_killed_before_submit"].fail_next("/v1/batch/preview-cost", delay=HELD_UP)
    accounts["bulk_killed_after_submit"].fail_next("/bulk/submit", lose_response=True)
    accounts["bulk_killed_after_submit"].fail_next("/bulk/submit", delay=HELD_UP)
    accounts["bulk_killed_while_waiting"].fail_next(BULK, status=503)
    accounts["bulk_killed_while_waiting"].fail_next(BULK, delay=HELD_UP)
    accounts["bulk_killed_while_downloading"].bulk_speed()
    accounts["bulk_killed_while_downloading"].fail_next(f"{BULK}/download", delay=HELD_UP)
    accounts["bulk_triggerer_killed_before_submit"].set_credits(1)


def kill_worker(airflow: LocalAirflow, accounts: Mapping[str, Sandbox], runs: Runs, moment: str) -> None:
    story = f"bulk_killed_{moment}"
    account, (path, calls) = accounts[story], MOMENTS[moment]
    assert runs[story]
    wait_until(lambda: len(account.requests_to(path)) >= calls, 120, f"the moment {moment}")
    account.clear_faults()
    kill_whoever_talks_to(account, spare=airflow.pid_of("scheduler"))
    account.bulk_speed()


def kill_triggerer(airflow: LocalAirflow, accounts: Mapping[str, Sandbox], runs: Runs) -> None:
    waiting = {f"bulk_triggerer_killed_{moment}": BULK for moment in TRIGGERER_MOMENTS}
    waiting["bulk_triggerer_killed_before_submit"] = "/v1/credits"
    for story in waiting:
        wait_until(lambda: airflow.task_states(story, runs[story]).get("enrich") == ["deferred"], 120, story)  # noqa: B023
    accounts["bulk_triggerer_killed_while_paused"].set_credits(5)
    accounts["bulk_triggerer_killed_while_paused"].advance_bulk(ROWS)
    waiting["bulk_triggerer_killed_while_paused"] = "/v1/credits"
    for story, path in waiting.items():
        wait_for_more(accounts[story], path)
    airflow.kill_component("triggerer")
    airflow.start_component("triggerer")
    for story, path in waiting.items():
        wait_for_more(accounts[story], path)
        accounts[story].bulk_speed()
        accounts[story].set_credits(1000)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_worker_that_is_killed_pays_nothing_twice(
    airflow: LocalAirflow, accounts: dict[str, Sandbox], runs: Runs, moment: str
) -> None:
    story = f"bulk_killed_{moment}"

    assert wait_for_run_to_end(airflow, story, runs[story], 240) == "success"

    assert tries(airflow, story, runs[story]) == 2
    assert_all_paid_once(accounts[story], story)


@pytest.mark.parametrize("moment", TRIGGERER_MOMENTS)
def test_a_triggerer_that_is_killed_pays_nothing_twice_and_cancels_nothing(
    airflow: LocalAirflow, accounts: dict[str, Sandbox], runs: Runs, moment: str
) -> None:
    story = f"bulk_triggerer_killed_{moment}"

    assert wait_for_run_to_end(airflow, story, runs[story], 120) == "success"

    assert tries(airflow, story, runs[story]) == 1
    assert accounts[story].requests_to(f"{BULK}/review") == []
    assert_all_paid_once(accounts[story], story)


def test_a_job_whose_credits_run_out_half_way_waits_for_more_and_goes_on(
    airflow: LocalAirflow, accounts: dict[str, Sandbox], runs: Runs
) -> None:
    story = "bulk_runs_dry"
    account, run_id = accounts[story], runs[story]
    wait_until(lambda: airflow.task_states(story, run_id).get("enrich") == ["deferred"], 120, "the deferral")
    account.set_credits(8)
    account.advance_bulk(ROWS)
    account.bulk_speed()
    assert account.credits == 0
    wait_for_more(account, "/v1/credits")

    account.add_credits(100)

    assert wait_for_run_to_end(airflow, story, run_id, 120) == "success"
    assert account.credits == 100 - (ROWS - 8)
    assert_all_paid_once(account, story)
    told = log_of(airflow, story)
    for sentence in (
        "is paused: 8 / 20 rows (40%), 8 credits used",
        "Waiting for credits: 12 short (0 spendable, 12 required) on connection 'bulk_runs_dry'. Next poll in ",
        "Credits sufficient: 100 spendable, 12 required on connection 'bulk_runs_dry'.",
        "goes on",
        "is completed: 20 / 20 rows (100%), 20 credits used",
    ):
        assert sentence in told


@pytest.mark.parametrize("moment", ["deferred", "running"])
def test_a_person_who_ends_the_task_ends_the_job(
    airflow: LocalAirflow, accounts: dict[str, Sandbox], runs: Runs, moment: str
) -> None:
    story = f"bulk_ended_while_{moment}"
    account, run_id = accounts[story], runs[story]
    wait_until(lambda: airflow.task_states(story, run_id).get("enrich") == [moment], 120, f"the task to be {moment}")
    wait_for_more(account, BULK)

    mark_failed(airflow, story, run_id, "enrich")

    wait_until(lambda: [job.status for job in account.bulk_jobs] == ["canceled"], 60, "the job to be canceled")
    assert airflow.task_states(story, run_id)["enrich"] == ["failed"]


def test_no_rows_and_no_tokens_are_left_behind(airflow: LocalAirflow, accounts: dict[str, Sandbox]) -> None:
    """Runs last: by then every story has left its traces."""
    tokens = [job.token for story in STORIES for job in accounts[story].bulk_jobs]
    secrets = [CANARY, *tokens]
    logs = "\n".join(text for _, text in airflow.logs())
    xcoms = str(airflow.query("SELECT value FROM xcom WHERE dag_id LIKE 'bulk_%'"))
    triggers = str(airflow.query("SELECT kwargs FROM trigger"))

    assert len(tokens) >= len(STORIES) - 1
    assert [secret for secret in secrets if secret in logs + xcoms + triggers] == []
    assert "Lead 7" not in log_of(airflow, "bulk_") + xcoms + triggers


def wait_for_more(account: Sandbox, path: str) -> None:
    seen = len(account.requests_to(path))
    wait_until(lambda: len(account.requests_to(path)) > seen, 90, f"another look at {path}")


def tries(airflow: LocalAirflow, dag_id: str, run_id: str) -> int:
    chosen = "SELECT try_number FROM task_instance WHERE dag_id = ? AND run_id = ?"
    return int(airflow.query(chosen, dag_id, run_id)[0][0])


def log_of(airflow: LocalAirflow, dag_id: str) -> str:
    return "\n".join(text for path, text in airflow.logs() if f"dag_id={dag_id}" in str(path))


def assert_all_paid_once(account: Sandbox, story: str) -> None:
    [job] = account.bulk_jobs
    assert job.status == "completed"
    assert account.charges_per_row(job.job_id) == Counter(range(ROWS))
    with (HOME / "bulk" / f"{story}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["crm_id"] for row in rows] == [str(number) for number in range(ROWS)]
    assert all(row["lm_email"] for row in rows)
