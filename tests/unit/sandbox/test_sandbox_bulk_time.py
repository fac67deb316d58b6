"""Processing of jobs over time, with a clock that the tests set."""

from __future__ import annotations

from decimal import Decimal

import pytest

from airflow_provider_leadmagic.sandbox.account import Account
from airflow_provider_leadmagic.sandbox.bulk.store import BulkJobs
from airflow_provider_leadmagic.sandbox.bulk.submit_request import read_submission
from airflow_provider_leadmagic.sandbox.state import SandboxState


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def account():
    return Account(100)


@pytest.fixture
def bulk(account, clock):
    """Return the jobs of an account, at ten rows per second."""
    bulk = BulkJobs(account, clock)
    bulk.change(rows_per_second=10)
    return bulk


def submission(rows):
    return read_submission(
        {
            "product": "email_finder",
            "rows": [{"full_name": f"Lead {row}", "domain": "example.com"} for row in range(rows)],
        }
    )


def done(bulk, job):
    with bulk.locked_job(job.job_id) as locked:
        return len(locked.done())


def statuses(bulk):
    with bulk.locked_jobs() as jobs:
        return [str(job.status) for job in jobs]


@pytest.mark.parametrize(("seconds", "rows"), [(0, 0), (0.09, 0), (0.1, 1), (0.3, 3), (1, 10), (60, 20)])
def test_rows_are_completed_over_time(bulk, clock, seconds, rows):
    job = bulk.submit(submission(20))
    clock.now += seconds
    assert done(bulk, job) == rows


def test_frequent_reads_do_not_change_the_speed(bulk, clock):
    job = bulk.submit(submission(100))
    for _ in range(100):
        clock.now += 0.037
        bulk.catch_up()
    assert done(bulk, job) == 37


def test_idle_time_before_the_first_job_does_not_count(bulk, clock):
    clock.now += 100
    job = bulk.submit(submission(5))
    assert done(bulk, job) == 0


def test_idle_time_after_the_last_job_does_not_count(bulk, clock):
    bulk.submit(submission(1))
    clock.now += 0.19
    bulk.catch_up()
    job = bulk.submit(submission(5))
    clock.now += 0.05
    assert done(bulk, job) == 0


def test_the_completion_time_is_when_the_row_was_due_not_when_the_job_is_read(bulk, clock, account):
    job = bulk.submit(submission(3))
    clock.now += 50
    bulk.catch_up()
    assert [row.completed_at for row in job.done()] == pytest.approx([1000.1, 1000.2, 1000.3])
    assert (job.started_at, job.completed_at, job.last_progress_at) == pytest.approx((1000, 1000.3, 1000.3))
    assert [charge.at for charge in account.charges] == pytest.approx([1000.1, 1000.2, 1000.3])


def test_a_change_of_speed_does_not_apply_to_the_past(bulk, clock):
    job = bulk.submit(submission(100))
    clock.now += 1
    bulk.change(rows_per_second=2)
    clock.now += 1
    assert done(bulk, job) == 12


def test_setting_the_clock_back_reverts_nothing(bulk, clock):
    job = bulk.submit(submission(100))
    clock.now += 1
    bulk.catch_up()
    clock.now -= 500
    assert done(bulk, job) == 10
    clock.now += 1
    assert done(bulk, job) == 20


def test_without_a_speed_jobs_are_completed_when_they_are_read(bulk, clock):
    bulk.change(rows_per_second=None)
    jobs = [bulk.submit(submission(30)), bulk.submit(submission(40))]
    assert [done(bulk, job) for job in jobs] == [30, 40]


def test_with_a_paused_clock_only_advance_processes_rows(bulk, clock):
    bulk.change(paused_clock=True)
    job = bulk.submit(submission(5))
    clock.now += 100
    assert (done(bulk, job), statuses(bulk)) == (0, ["uploaded"])
    assert [bulk.advance(2), done(bulk, job), bulk.advance(9), done(bulk, job)] == [2, 2, 3, 5]


def test_time_under_a_paused_clock_does_not_count(bulk, clock):
    bulk.change(paused_clock=True)
    job = bulk.submit(submission(5))
    clock.now += 100
    bulk.change(paused_clock=False)
    assert done(bulk, job) == 0


def test_jobs_are_processed_one_after_another(bulk):
    bulk.change(paused_clock=True)
    for _ in range(3):
        bulk.submit(submission(2))
    seen = [statuses(bulk)]
    for rows in (0, 2, 3):
        bulk.advance(rows)
        seen.append(statuses(bulk))
    assert seen == [
        ["uploaded", "uploaded", "uploaded"],
        ["processing", "queued", "queued"],
        ["completed", "processing", "queued"],
        ["completed", "completed", "processing"],
    ]


def test_a_job_starts_when_the_one_before_it_is_completed(bulk, clock):
    bulk.submit(submission(5))
    second = bulk.submit(submission(5))
    clock.now += 10
    bulk.catch_up()
    assert (second.created_at, second.started_at, second.completed_at) == pytest.approx((1000, 1000.5, 1001))


def test_a_job_starts_once(bulk, clock):
    job = bulk.submit(submission(5))
    for _ in range(3):
        clock.now += 0.1
        bulk.catch_up()
    assert job.started_at == 1000


def test_a_paused_job_does_not_block_the_next_one(bulk, clock):
    first, second = bulk.submit(submission(5)), bulk.submit(submission(5))
    first.pause()
    clock.now += 0.2
    assert (done(bulk, first), done(bulk, second)) == (0, 2)


def test_a_resumed_job_is_processed_before_later_jobs(bulk, clock):
    first, second = bulk.submit(submission(5)), bulk.submit(submission(5))
    first.pause()
    clock.now += 0.2
    bulk.catch_up()
    first.resume()
    clock.now += 0.1
    assert (done(bulk, first), done(bulk, second)) == (1, 2)
    assert statuses(bulk) == ["processing", "queued"]


def test_time_during_a_pause_does_not_count(bulk, clock):
    job = bulk.submit(submission(50))
    job.pause()
    clock.now += 100
    bulk.catch_up()
    job.resume()
    clock.now += 0.3
    assert done(bulk, job) == 3


class TestBalance:
    """The balance decreases over time, even if the job is never read."""

    @pytest.fixture
    def state(self, account, clock):
        state = SandboxState(account)
        state.bulk.clock = clock
        state.bulk.clear()
        state.bulk.change(rows_per_second=10)
        return state

    @pytest.mark.parametrize("name", ["credits", "spendable"])
    def test_it_includes_the_rows_that_are_due_when_it_is_read(self, state, clock, name):
        state.bulk.submit(submission(50))
        clock.now += 2
        assert getattr(state.account, name) == 80

    def test_a_top_up_does_not_resume_a_job_that_ran_out_of_credits_before(self, state, clock):
        state.account.set_credits(2)
        job = state.bulk.submit(submission(50))
        clock.now += 1
        state.account.add_credits(10)
        clock.now += 1
        assert state.account.credits == 10
        assert (done(state.bulk, job), statuses(state.bulk)) == (2, ["paused"])

    def test_a_freeze_does_not_affect_rows_completed_before(self, state, clock):
        job = state.bulk.submit(submission(50))
        clock.now += 1
        state.account.freeze()
        clock.now += 1
        assert state.account.credits == 90
        assert (done(state.bulk, job), statuses(state.bulk)) == (10, ["paused"])

    def test_a_single_lookup_competes_with_a_job_for_the_last_credit(self, state, clock):
        state.account.set_credits(3)
        job = state.bulk.submit(submission(50))
        clock.now += 0.2
        state.account.pay("email_finder", Decimal(1), found=True)
        clock.now += 1
        assert state.account.credits == 0
        assert done(state.bulk, job) == 2
