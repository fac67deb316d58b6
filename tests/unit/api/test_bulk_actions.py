"""Tests of client.bulk.cancel, resume and restart, including which requests are retried."""

from __future__ import annotations

import json

import pytest

from airflow_provider_leadmagic.exceptions import (
    LeadMagicConnectionError,
    LeadMagicError,
    LeadMagicNotFoundError,
    LeadMagicRequestError,
    LeadMagicResponseError,
)

REVIEW, RESUME, RESTART = (f"/bulk/jobs/*/{action}" for action in ("review", "resume", "restart"))
UNSAFE_IDS = ["", "../../v1/credits", "a/b", "a?b=c", "a%2Fb", None, 5]


@pytest.fixture
def submitted(client, leadmagic_sandbox):
    """Return a function that submits a job with these names and processes some of its rows."""

    def submit(names=("Ada", "Grace", "Mary"), done=0):
        leadmagic_sandbox.bulk_speed(paused_clock=True)
        rows = [{"full_name": name, "domain": "example.com"} for name in names]
        job_id = client.bulk.submit("email_finder", rows, idempotency_key=f"k{len(leadmagic_sandbox.bulk_jobs)}").job_id
        leadmagic_sandbox.advance_bulk(done)
        return job_id

    return submit


@pytest.fixture
def paused(submitted, leadmagic_sandbox):
    """Return the ID of a job that ran out of credits after the first of three rows."""
    leadmagic_sandbox.set_credits(1)
    return submitted(done=3)


def status_of(sandbox, job_id):
    return next(job.status for job in sandbox.bulk_jobs if job.job_id == job_id)


class TestCancel:
    @pytest.mark.parametrize("done", [0, 2])
    def test_cancel_ends_the_job_and_its_charges(self, client, leadmagic_sandbox, submitted, done):
        job_id = submitted(done=done)
        client.bulk.cancel(job_id)
        leadmagic_sandbox.advance_bulk(3)
        assert status_of(leadmagic_sandbox, job_id) == "canceled"
        assert leadmagic_sandbox.credits == 1000 - done

    def test_paused_job_is_canceled(self, client, leadmagic_sandbox, paused):
        client.bulk.cancel(paused)
        assert status_of(leadmagic_sandbox, paused) == "canceled"

    def test_ended_job_is_unchanged(self, client, leadmagic_sandbox, submitted):
        job_id = submitted(done=3)
        client.bulk.cancel(job_id)
        assert status_of(leadmagic_sandbox, job_id) == "completed"

    @pytest.mark.usefixtures("sleeps")
    def test_lost_response_is_not_an_error(self, client, leadmagic_sandbox, submitted):
        job_id = submitted()
        leadmagic_sandbox.fail_next(REVIEW, lose_response=True)
        client.bulk.cancel(job_id)
        assert [request.status for request in leadmagic_sandbox.requests_to(REVIEW)] == [None, 409]

    def test_rejection_for_a_running_job_is_raised(self, client, leadmagic_sandbox, submitted):
        leadmagic_sandbox.fail_next(REVIEW, status=409)
        with pytest.raises(LeadMagicRequestError, match=r"^Request rejected \(409 conflict\): .*/review, "):
            client.bulk.cancel(submitted())


class TestResume:
    def test_paused_job_continues_and_charges_no_row_twice(self, client, leadmagic_sandbox, paused):
        assert client.bulk.get(paused).is_paused
        leadmagic_sandbox.add_credits(10)
        client.bulk.resume(paused)
        leadmagic_sandbox.advance_bulk(3)
        assert client.bulk.get(paused).is_completed
        assert leadmagic_sandbox.charges_per_row(paused) == {0: 1, 1: 1, 2: 1}

    @pytest.mark.parametrize("fault", [{"lose_response": True}, {"status": 500}, {"drop": True}], ids=str)
    def test_resume_is_retried(self, client, leadmagic_sandbox, paused, sleeps, fault):
        leadmagic_sandbox.add_credits(10)
        leadmagic_sandbox.fail_next(RESUME, **fault)
        client.bulk.resume(paused)
        assert (len(leadmagic_sandbox.requests_to(RESUME)), len(sleeps)) == (2, 1)

    @pytest.mark.usefixtures("sleeps")
    @pytest.mark.parametrize("done", [0, 3], ids=["running", "completed"])
    @pytest.mark.parametrize("refusal", [400, 409, 422])
    def test_refusal_after_a_lost_response_is_not_an_error(self, client, leadmagic_sandbox, paused, refusal, done):
        leadmagic_sandbox.add_credits(10)
        leadmagic_sandbox.bulk_speed(paused_clock=not done)
        leadmagic_sandbox.fail_next(RESUME, lose_response=True)
        leadmagic_sandbox.fail_next(RESUME, status=refusal)
        client.bulk.resume(paused)
        assert len(leadmagic_sandbox.requests_to(RESUME)) == 2

    @pytest.mark.usefixtures("sleeps")
    def test_refusal_of_a_job_that_is_still_paused_is_raised(self, client, leadmagic_sandbox, paused):
        leadmagic_sandbox.fail_next(RESUME, drop=True)
        leadmagic_sandbox.fail_next(RESUME, status=422)
        with pytest.raises(LeadMagicRequestError, match="422"):
            client.bulk.resume(paused)

    def test_ended_job_cannot_be_resumed(self, client, submitted):
        with pytest.raises(LeadMagicRequestError, match=r"^Request rejected \(409 conflict\): .*/resume, "):
            client.bulk.resume(submitted(done=3))


class TestRestart:
    def test_failed_rows_are_processed_again_in_the_same_job(self, client, leadmagic_sandbox, submitted):
        job_id = submitted(["Ada", "Flaky Grace"], done=2)
        assert client.bulk.restart(job_id) == job_id
        leadmagic_sandbox.advance_bulk(2)
        assert client.bulk.get(job_id).succeeded == 2
        assert leadmagic_sandbox.charges_per_row(job_id) == {0: 1, 1: 1}

    def test_job_without_failed_rows_keeps_its_id(self, client, submitted):
        job_id = submitted(done=3)
        assert client.bulk.restart(job_id) == job_id

    @pytest.mark.parametrize(("mode", "options", "skipped"), [("full", {}, 0), ("from_row", {"start_row": 2}, 2)])
    def test_other_modes_return_the_id_of_a_new_job(self, client, leadmagic_sandbox, submitted, mode, options, skipped):
        job_id = submitted(done=3)
        new_id = client.bulk.restart(job_id, mode, **options)
        old, new = leadmagic_sandbox.bulk_jobs
        assert (old.job_id, new.job_id, new.skipped) == (job_id, new_id, skipped)

    def test_start_row_can_be_zero(self, client, leadmagic_sandbox, submitted):
        client.bulk.restart(submitted(done=3), "from_row", start_row=0)
        assert leadmagic_sandbox.bulk_jobs[-1].skipped == 0

    @pytest.mark.parametrize(
        ("response", "job_id"),
        [({}, "j1"), ({"jobId": "j2"}, "j2"), ({"jobId": "j2", "newJobId": None}, "j2"), ({"newJobId": "j3"}, "j3")],
        ids=str,
    )
    def test_returned_id_is_the_job_that_processes_the_rows(self, client, leadmagic_sandbox, response, job_id):
        leadmagic_sandbox.fail_next(RESTART, body=json.dumps(response))
        assert client.bulk.restart("j1") == job_id

    def test_unsafe_id_in_the_response_is_rejected(self, client, leadmagic_sandbox):
        leadmagic_sandbox.fail_next(RESTART, body='{"newJobId": "../../v1/credits?token=hunter2"}')
        with pytest.raises(LeadMagicResponseError, match="`newJobId` must be 1 to 100 letters") as caught:
            client.bulk.restart("j1")
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize(
        "fault", [{"lose_response": True}, {"drop": True}, {"status": 500}, {"status": 503}], ids=str
    )
    def test_restart_is_not_retried_if_it_may_have_been_executed(
        self, client, leadmagic_sandbox, submitted, sleeps, fault
    ):
        job_id = submitted(done=3)
        leadmagic_sandbox.fail_next(RESTART, **fault)
        with pytest.raises(LeadMagicError) as caught:
            client.bulk.restart(job_id, "full")
        assert caught.value.transient
        assert (len(leadmagic_sandbox.requests_to(RESTART)), sleeps) == (1, [])

    def test_restart_is_retried_after_429(self, client, leadmagic_sandbox, submitted, sleeps):
        job_id = submitted(done=3)
        leadmagic_sandbox.fail_next(RESTART, status=429)
        client.bulk.restart(job_id, "full")
        assert (len(leadmagic_sandbox.bulk_jobs), len(sleeps)) == (2, 1)

    @pytest.mark.parametrize("mode", ["from_shard", "everything", "", None], ids=repr)
    def test_unknown_mode_is_rejected_before_any_request(self, client, leadmagic_sandbox, mode):
        with pytest.raises(ValueError, match=r"^mode must be failed_only, full or from_row; got "):
            client.bulk.restart("j1", mode)
        assert leadmagic_sandbox.requests == []

    @pytest.mark.parametrize("start_row", [None, -1, True, 1.0, "1"], ids=repr)
    def test_from_row_requires_start_row(self, client, leadmagic_sandbox, start_row):
        message = "^start_row must be a whole number, 0 or more, with mode from_row; got "
        with pytest.raises(ValueError, match=message):
            client.bulk.restart("j1", "from_row", start_row=start_row)
        assert leadmagic_sandbox.requests == []

    @pytest.mark.parametrize("mode", ["full", "failed_only"])
    def test_other_modes_reject_start_row(self, client, leadmagic_sandbox, mode):
        with pytest.raises(ValueError, match=f"^start_row requires mode from_row; got 0 with mode {mode}$"):
            client.bulk.restart("j1", mode, start_row=0)
        assert leadmagic_sandbox.requests == []


@pytest.mark.parametrize("action", ["resume", "restart"])
def test_cached_balance_is_discarded_by_calls_that_cost_credits(client, leadmagic_sandbox, action):
    client.get_credits()
    leadmagic_sandbox.fail_next("*", body="{}")  # a response without X-Credits-Remaining
    getattr(client.bulk, action)("j1")
    leadmagic_sandbox.set_credits(7)
    assert client.get_credits(max_age=3600).credits == 7


@pytest.mark.parametrize("job_id", UNSAFE_IDS, ids=repr)
@pytest.mark.parametrize("action", ["cancel", "resume", "restart", "get"])
def test_unsafe_job_id_is_rejected_before_any_request(client, leadmagic_sandbox, action, job_id):
    with pytest.raises(ValueError, match=r"^job_id must be 1 to 100 letters, .* and not only dots; got "):
        getattr(client.bulk, action)(job_id)
    assert leadmagic_sandbox.requests == []


@pytest.mark.parametrize("action", ["cancel", "resume", "restart", "get"])
def test_unknown_job_raises_not_found(client, action):
    with pytest.raises(LeadMagicNotFoundError):
        getattr(client.bulk, action)("unknown-job")


@pytest.mark.parametrize("action", ["cancel", "resume", "get"])
def test_call_that_is_safe_to_repeat_makes_four_attempts(client, leadmagic_sandbox, sleeps, action):
    leadmagic_sandbox.fail_next("*", drop=True, times=None)
    with pytest.raises(LeadMagicConnectionError):
        getattr(client.bulk, action)("j1")
    assert len(leadmagic_sandbox.requests) == 4
