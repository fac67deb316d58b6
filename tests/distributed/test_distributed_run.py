"""Sensors in a cluster survive failures of a worker, a triggerer, Redis, PostgreSQL and LeadMagic."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests.distributed.claims import CLAIMED, CLAIMS
from tests.distributed.cluster import TRIGGERERS, WORKERS
from tests.distributed.sensors import (
    AFTER_TOP_UP,
    AT_ONCE,
    BEFORE,
    DEFERRABLE,
    INTERVALS,
    MODES,
    OUTCOMES,
    POKE,
    RESCHEDULE,
)

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.request_log import LoggedRequest
    from tests.distributed.run import DistributedRun

pytestmark = pytest.mark.distributed

#: Requests that a triggerer may send within one interval.
MAX_REQUESTS = 3


@pytest.mark.parametrize("mode", MODES)
def test_every_sensor_ends_in_its_expected_state(run: DistributedRun, mode: str) -> None:
    states = run.tasks.states()
    sensors = [sensor for sensor in run.sensors if sensor.mode == mode]

    unexpected = {sensor: states[sensor.key] for sensor in sensors if states[sensor.key] != sensor.expected_state}

    assert sensors
    assert unexpected == {}


def test_before_the_top_up_only_sensors_with_a_covered_minimum_succeeded(run: DistributedRun) -> None:
    states = {key: state for key, state in run.states_before_top_up.items() if key[0].startswith("sensors_")}

    succeeded = {key for key, state in states.items() if state == "success"}
    assert succeeded == {sensor.key for sensor in run.sensors_with(AT_ONCE)}


def test_no_sensor_succeeded_below_its_threshold(run: DistributedRun) -> None:
    reports = run.tasks.xcoms()
    succeeded = run.sensors_with(AT_ONCE, AFTER_TOP_UP)

    assert {sensor.key for sensor in succeeded} == set(reports)
    for sensor in succeeded:
        report = reports[sensor.key]
        assert report["minimum_credits"] == sensor.minimum_credits <= report["spendable"]
        if sensor.minimum_credits > BEFORE:
            assert datetime.fromisoformat(report["observed_at"]).timestamp() >= run.topped_up_at


def test_no_sensor_is_lost(run: DistributedRun) -> None:
    assert run.tasks.unfinished() == []
    assert len([key for key in run.tasks.states() if key[0].startswith("sensors_")]) == len(run.sensors)
    assert run.tasks.triggers_left() == []


def test_no_worker_or_triggerer_exited_unexpectedly(run: DistributedRun) -> None:
    assert {*WORKERS, *TRIGGERERS} & set(run.cluster.unexpected_exits) == set()


def test_the_sensors_encountered_every_failure(run: DistributedRun) -> None:
    """Check that the run tested what it claims to test."""
    assert run.orphans > 0
    assert max(run.tasks.attempts(f"{POKE}_{AFTER_TOP_UP}")) > 1
    assert run.accounts.polls(POKE, status=500)
    assert run.accounts.polls(RESCHEDULE, status=500)
    assert any(run.accounts.polls(name, status=500) for name in TRIGGERERS)


@pytest.mark.parametrize("triggerer", TRIGGERERS)
def test_a_triggerer_never_polls_in_bursts(run: DistributedRun, triggerer: str) -> None:
    polls = run.accounts.polls(triggerer)

    most = largest_burst(polls, INTERVALS[DEFERRABLE])

    print(f"{triggerer}: {len(polls)} requests, at most {most} within {INTERVALS[DEFERRABLE]} s")
    assert polls
    assert most <= MAX_REQUESTS


def test_a_deferrable_sensor_polls_once_per_attempt_on_a_worker(run: DistributedRun) -> None:
    polls = run.accounts.polls(DEFERRABLE)

    assert len(run.sensors_with(*OUTCOMES, mode=DEFERRABLE)) <= len(polls) <= sum(run.tasks.attempts(DEFERRABLE))


def test_a_bulk_job_is_submitted_and_charged_once(run: DistributedRun) -> None:
    [job] = run.accounts["bulk"].bulk_jobs

    assert job.status == "completed"
    assert run.accounts["bulk"].charges_per_row(job.job_id) == Counter(range(20))
    assert run.tasks.states()["traces", "bulk"] == "success"


def test_no_run_counts_on_credits_that_another_one_has_claimed(run: DistributedRun) -> None:
    assert run.claims.shortfalls == []
    assert run.accounts.polls(CLAIMS, status=402) == []


def test_every_run_that_claims_credits_spends_them_and_succeeds(run: DistributedRun) -> None:
    runs = run.cluster.query("SELECT dag_id, state FROM dag_run WHERE dag_id LIKE ?", "claims_%")
    lookups = run.accounts[CLAIMS].requests_to("/v1/people/email-finder")

    assert dict(runs) == dict.fromkeys(CLAIMED, "success")
    assert sum(CLAIMED.values()) * 0.99 <= len(lookups) <= sum(CLAIMED.values())


def test_the_top_up_starts_a_dag_once(run: DistributedRun) -> None:
    runs = run.cluster.query("SELECT state FROM dag_run WHERE dag_id = 'starts_on_top_up'")

    assert runs == [("success",)]


def largest_burst(polls: list[LoggedRequest], interval: float) -> int:
    times = [poll.at for poll in polls]
    return max((sum(start <= at < start + interval for at in times) for start in times), default=0)
