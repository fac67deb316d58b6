"""Changes of a job: which are allowed in which state."""

from __future__ import annotations

import pytest

REJECT, APPROVE = {"action": "reject"}, {"action": "approve"}


@pytest.fixture(autouse=True)
def _paused_clock(leadmagic_sandbox):
    leadmagic_sandbox.bulk_speed(paused_clock=True)


@pytest.fixture
def job_in(leadmagic_sandbox, submit, change_job):
    """Submit a job of four rows and bring it into a state."""

    def job_in(status):
        if status == "queued":
            submit(1)
        job_id = submit(4).json()["jobId"]
        if status in ("queued", "processing"):
            leadmagic_sandbox.advance_bulk(1 if status == "processing" else 0)
        elif status == "paused":
            change_job(job_id, "pause")
        elif status == "completed":
            leadmagic_sandbox.advance_bulk(4)
        elif status == "canceled":
            change_job(job_id, "review", REJECT)
        elif status == "failed":
            leadmagic_sandbox.fail_job(job_id)
        return job_id

    return job_in


CHANGES = {
    "pause": ("pause", None, "paused"),
    "resume": ("resume", None, "running"),
    "approve": ("review", APPROVE, "running"),
    "reject": ("review", REJECT, "canceled"),
}


@pytest.mark.parametrize("status", ["uploaded", "queued", "processing", "paused", "completed", "canceled", "failed"])
def test_a_job_can_reach_each_state(read_job, job_in, status):
    assert read_job(job_in(status))["status"] == status


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        ("uploaded", "pause", "paused"),
        ("queued", "pause", "paused"),
        ("processing", "pause", "paused"),
        ("paused", "pause", "paused"),
        ("paused", "resume", "queued"),
        ("paused", "approve", "queued"),
        ("processing", "resume", "processing"),
        ("processing", "approve", "processing"),
        ("uploaded", "reject", "canceled"),
        ("queued", "reject", "canceled"),
        ("processing", "reject", "canceled"),
        ("paused", "reject", "canceled"),
    ],
)
def test_a_job_that_has_not_ended_can_be_changed(call, read_job, job_in, before, change, after):
    job_id = job_in(before)
    path, body, reported = CHANGES[change]
    response = call("POST", f"/bulk/jobs/{job_id}/{path}", json=body)
    assert (response.status_code, response.json()) == (200, {"jobId": job_id, "status": reported})
    assert read_job(job_id)["status"] == after


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("ended", ["completed", "canceled", "failed"])
def test_a_job_that_has_ended_stays_ended(call, read_job, job_in, ended, change):
    job_id = job_in(ended)
    path, body, _ = CHANGES[change]
    response = call("POST", f"/bulk/jobs/{job_id}/{path}", json=body)
    assert (response.status_code, response.json()["errors"][0]["code"]) == (409, "conflict")
    assert read_job(job_id)["status"] == ended


@pytest.mark.parametrize("mode", ["full", "failed_only"])
@pytest.mark.parametrize("active", ["uploaded", "queued", "processing", "paused"])
def test_a_job_that_has_not_ended_cannot_be_restarted(change_job, job_in, active, mode):
    response = change_job(job_in(active), "restart", {"mode": mode})
    assert (response.status_code, response.json()["errors"][0]["code"]) == (409, "conflict")


def test_a_paused_job_processes_no_rows(leadmagic_sandbox, job_in):
    job_in("paused")
    assert leadmagic_sandbox.advance_bulk(10) == 0


def test_the_pending_rows_of_a_canceled_job_are_skipped_and_free(leadmagic_sandbox, change_job, read_job, job_in):
    job_id = job_in("processing")
    change_job(job_id, "review", REJECT)
    leadmagic_sandbox.advance_bulk(10)
    snapshot = read_job(job_id)
    assert (snapshot["processed_items"], snapshot["skipped_items"]) == (1, 3)
    assert snapshot["completed_at"] is not None
    assert leadmagic_sandbox.credits == 999


def test_canceling_a_job_starts_the_next_one(leadmagic_sandbox, submit, change_job, read_job, job_in):
    job_id, next_id = job_in("processing"), submit(1).json()["jobId"]
    change_job(job_id, "review", REJECT)
    leadmagic_sandbox.advance_bulk(1)
    assert read_job(next_id)["status"] == "completed"


@pytest.mark.parametrize(
    ("body", "skipped"),
    [
        (None, 0),
        ({}, 0),
        ({"mode": "full"}, 0),
        ({"mode": "from_row", "startRowIndex": 3}, 3),
        ({"mode": "from_row", "startRowIndex": 2.0}, 2),
    ],
)
def test_a_restart_processes_the_rows_again_from_a_row_on(
    leadmagic_sandbox, change_job, read_job, job_in, body, skipped
):
    job_id = job_in("completed")
    response = change_job(job_id, "restart", body).json()
    leadmagic_sandbox.advance_bulk(10)
    again = read_job(response["newJobId"])
    assert (again["total_rows"], again["processed_items"], again["skipped_items"]) == (4, 4 - skipped, skipped)
    done = {row["row_index"] for row in read_job(response["newJobId"], "/results")["rows"]}
    assert (again["status"], done) == ("completed", set(range(skipped, 4)))
    assert response["jobId"] == job_id
    assert response["mode"] == (body or {}).get("mode", "full")
    assert (response["started"], response["position"]) == (False, 1)


def test_a_restart_without_failed_rows_restarts_nothing(change_job, read_job, job_in):
    job_id = job_in("completed")
    response = change_job(job_id, "restart", {"mode": "failed_only"}).json()
    assert (response["restarted"], response["position"]) == (False, 0)
    assert read_job(job_id)["status"] == "completed"


def test_only_failed_rows_are_processed_again(leadmagic_sandbox, submit, change_job, read_job):
    rows = [{"full_name": name, "domain": "example.com"} for name in ("flaky", "Jane", "invalid", "flaky", "Joe")]
    job_id = submit(rows).json()["jobId"]
    leadmagic_sandbox.advance_bulk(5)
    before = read_job(job_id)
    change_job(job_id, "restart", {"mode": "failed_only"})
    restarted = {"status": "queued", "processed_items": 2, "failed_items": 0, "completed_at": None}
    assert read_job(job_id).items() >= restarted.items()
    assert leadmagic_sandbox.advance_bulk(10) == 3
    after = read_job(job_id)
    assert (before["failed_items"], after["failed_items"], after["succeeded_items"]) == (3, 1, 4)
    assert after["status"] == "completed"


def test_a_full_restart_requires_the_same_credits_as_a_submit(leadmagic_sandbox, change_job, job_in):
    job_id = job_in("completed")
    leadmagic_sandbox.set_credits(0)
    assert change_job(job_id, "restart").status_code == 402
    assert len(leadmagic_sandbox.bulk_jobs) == 1


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        ("review", {}, None),
        ("review", {"action": "cancel"}, "'approve' or 'reject'"),
        ("restart", {"mode": "again"}, "mode: "),
        ("restart", {"mode": "from_row"}, "mode from_row requires startRowIndex"),
        ("restart", {"mode": "from_shard", "startShardIndex": 0}, "mode: "),
        ("restart", {"mode": "from_row", "startRowIndex": -1}, "startRowIndex: "),
        ("restart", {"mode": "from_row", "startRowIndex": 1.5}, "startRowIndex: "),
        ("restart", {"mode": "from_row", "startRowIndex": True}, "startRowIndex: "),
        ("restart", {"mode": "from_row", "startRowIndex": "1"}, "startRowIndex: "),
        (
            "restart",
            {"mode": "from_row", "startRowIndex": 4},
            "startRowIndex must be below 4, the number of rows; got 4.",
        ),
    ],
)
def test_an_invalid_change_is_rejected(leadmagic_sandbox, change_job, job_in, path, body, detail):
    response = change_job(job_in("completed"), path, body)
    assert response.status_code == 400
    assert (detail or "") in response.json()["errors"][0].get("detail", "")
    assert len(leadmagic_sandbox.bulk_jobs) == 1


@pytest.mark.parametrize("job_id", ["a1b2c3d4-e5f6-7890-abcd-ef1234567890", "unknown"])
@pytest.mark.parametrize(
    ("method", "below", "body"),
    [
        ("GET", "", None),
        ("GET", "/results", None),
        ("GET", "/errors", None),
        ("GET", "/download", None),
        ("GET", "/progress", None),
        ("POST", "/pause", None),
        ("POST", "/resume", None),
        ("POST", "/review", REJECT),
        ("POST", "/restart", None),
    ],
)
def test_an_unknown_job_returns_404(call, job_id, method, below, body):
    response = call(method, f"/bulk/jobs/{job_id}{below}", json=body)
    assert (response.status_code, response.headers["Content-Type"]) == (404, "application/problem+json")
    assert response.json()["errors"][0]["code"] == "resource_not_found"
