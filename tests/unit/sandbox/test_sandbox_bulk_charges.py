"""The credits that jobs spend: each row of a job is charged at most once."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from decimal import Decimal

import pytest

from airflow_provider_leadmagic.sandbox.account import Account
from airflow_provider_leadmagic.sandbox.bulk.store import BulkJobs
from airflow_provider_leadmagic.sandbox.bulk.submit_request import read_submission
from airflow_provider_leadmagic.sandbox.errors import ApiError


def lead(name):
    return {"full_name": name, "domain": "example.com"}


MIXED = [lead("Jane"), lead("Not found: notfound"), lead("Invalid"), lead("Flaky"), lead("Joe")]


def test_hits_are_charged_and_misses_and_failures_are_free(leadmagic_sandbox, submit, read_job):
    job_id = submit(MIXED).json()["jobId"]
    snapshot = read_job(job_id)
    assert snapshot["total_credits_consumed"] == "2.00"
    assert (snapshot["succeeded_items"], snapshot["failed_items"]) == (3, 2)
    assert leadmagic_sandbox.charges_per_row(job_id) == Counter({0: 1, 4: 1})
    assert leadmagic_sandbox.credits == 998


@pytest.mark.parametrize(
    ("product", "row", "price"),
    [
        ("email_finder", lead("Jane"), "1.00"),
        ("email_validation", {"email": "jane@example.com"}, "0.25"),
        ("mobile_finder", {"profile_url": "jane"}, "5.00"),
        ("company_search", {"company_domain": "example.com"}, "1.00"),
        ("company_finder", {"company_domain": "example.com"}, "1.00"),
    ],
)
def test_a_row_costs_the_same_as_a_single_lookup(leadmagic_sandbox, submit, read_job, product, row, price):
    job_id = submit([row] * 2, product).json()["jobId"]
    assert [result["credits_consumed"] for result in read_job(job_id, "/results")["rows"]] == [price] * 2
    assert leadmagic_sandbox.credits == 1000 - 2 * Decimal(price)


def test_jobs_are_included_in_the_analytics_and_the_recorded_spending(submit, call, control):
    submit(MIXED)
    assert control("GET", "state").json()["spent"] == {"email_finder": 2}
    assert call("GET", "/v1/analytics/summary").json()["total_credits_consumed"] == 2


def test_a_job_without_credits_pauses_until_it_is_resumed_after_a_top_up(
    leadmagic_sandbox, submit, read_job, change_job, balance
):
    leadmagic_sandbox.set_credits(2)
    job_id = submit(5).json()["jobId"]
    assert (read_job(job_id)["status"], read_job(job_id)["processed_items"]) == ("paused", 2)
    leadmagic_sandbox.add_credits(10)
    assert read_job(job_id)["status"] == "paused"
    assert change_job(job_id, "resume").json() == {"jobId": job_id, "status": "running"}
    assert (read_job(job_id)["status"], balance()["credits"]) == ("completed", 7)


def test_a_job_resumed_without_a_top_up_pauses_again(leadmagic_sandbox, submit, read_job, change_job):
    leadmagic_sandbox.set_credits(2)
    job_id = submit(5).json()["jobId"]
    assert change_job(job_id, "resume").status_code == 200
    assert (read_job(job_id)["status"], read_job(job_id)["processed_items"]) == ("paused", 2)


def test_a_row_requires_its_price_even_if_it_is_a_miss(leadmagic_sandbox, submit, read_job):
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    job_id = submit([lead("notfound")]).json()["jobId"]
    leadmagic_sandbox.set_credits("0.99")
    leadmagic_sandbox.advance_bulk(1)
    assert read_job(job_id)["status"] == "paused"


def test_a_row_that_fails_requires_no_credits(leadmagic_sandbox, submit, read_job):
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    job_id = submit([lead("invalid")]).json()["jobId"]
    leadmagic_sandbox.set_credits(0)
    leadmagic_sandbox.advance_bulk(1)
    assert read_job(job_id)["status"] == "completed"


def test_resuming_twice_charges_once(leadmagic_sandbox, submit, change_job):
    leadmagic_sandbox.set_credits(2)
    job_id = submit(5).json()["jobId"]
    leadmagic_sandbox.add_credits(10)
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    assert [change_job(job_id, "resume").status_code for _ in range(2)] == [200, 200]
    leadmagic_sandbox.advance_bulk(100)
    assert leadmagic_sandbox.charges_per_row(job_id) == Counter(range(5))
    assert leadmagic_sandbox.credits == 7


def test_reprocessed_failed_rows_are_charged_if_they_are_hits(leadmagic_sandbox, submit, change_job, read_job):
    job_id = submit(MIXED).json()["jobId"]
    read_job(job_id)
    response = change_job(job_id, "restart", {"mode": "failed_only"}).json()
    assert (response["restarted"], response["newJobId"]) == (True, None)
    assert (read_job(job_id)["succeeded_items"], read_job(job_id)["failed_items"]) == (4, 1)
    assert leadmagic_sandbox.charges_per_row(job_id) == Counter({0: 1, 3: 1, 4: 1})


def test_a_full_restart_creates_a_new_job_and_charges_again(leadmagic_sandbox, submit, change_job, read_job):
    job_id = submit(3, idempotencyKey="k").json()["jobId"]
    read_job(job_id)
    again = change_job(job_id, "restart").json()["newJobId"]
    assert again not in (None, job_id)
    assert leadmagic_sandbox.charges_per_row(job_id) == Counter(range(3)) == leadmagic_sandbox.charges_per_row(again)
    assert leadmagic_sandbox.credits == 994
    assert [job.idempotency_key for job in leadmagic_sandbox.bulk_jobs] == ["k", None]


class RandomActions:
    """Random actions on jobs and their account."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.account = Account(20)
        self.topped_up = 20
        self.bulk = BulkJobs(self.account)
        self.bulk.change(paused_clock=True)
        names = ["Jane", "notfound", "invalid", "flaky"]
        rows = [lead(self.random.choice(names)) for _ in range(12)]
        self.submission = read_submission({"product": "email_finder", "rows": rows, "idempotencyKey": "k"})

    def step(self):
        action = self.random.choice(
            [self.submit, self.advance, self.advance, self.advance, self.top_up, self.change_job]
        )
        with suppress(ApiError):
            action()

    def submit(self):
        self.bulk.submit(self.submission)

    def advance(self):
        self.bulk.advance(self.random.randrange(6))

    def top_up(self):
        self.account.add_credits(2)
        self.topped_up += 2

    def change_job(self):
        with self.bulk.locked_jobs() as jobs:
            job = self.random.choice(jobs) if jobs else self.bulk.submit(self.submission)
        change = self.random.choice(["pause", "resume", "resume", "retry_failed", "restart", "cancel"])
        if change == "restart":
            self.bulk.restart(job.job_id, self.random.randrange(12))
        else:
            getattr(job, change)(*([0.0] if change == "cancel" else []))


@pytest.mark.parametrize("seed", range(40))
def test_no_sequence_of_actions_charges_a_row_of_a_job_twice(seed):
    actions = RandomActions(seed)
    for _ in range(120):
        actions.step()
        with actions.bulk.locked_jobs() as jobs:
            assert not [job for job in jobs if max(job.charges.values(), default=0) > 1]
            assert sum(job.credits_consumed for job in jobs) == actions.topped_up - actions.account.credits
            assert sum(job.charges.total() for job in jobs) == actions.topped_up - actions.account.credits
            for job in jobs:
                assert len({row.row_index for row in job.done()}) == len(job.done())
                assert len(job.done()) + job.skipped <= 12
                assert job.status != "completed" or len(job.done()) + job.skipped == 12
