"""How a test controls bulk jobs: with the class ``Sandbox``, or over HTTP."""

from __future__ import annotations

import csv
import json

import pytest

SETTINGS = {"rows_per_second": None, "paused_clock": False, "submit_needs": "one_row"}


@pytest.mark.parametrize(
    ("changes", "after"),
    [
        ([], {}),
        ([{"paused_clock": True}], {"paused_clock": True}),
        ([{"rows_per_second": 5}], {"rows_per_second": 5}),
        ([{"rows_per_second": 5, "paused_clock": True}, {"rows_per_second": None}], {"paused_clock": True}),
        ([{"submit_needs": "all_rows"}, {"rows_per_second": 2}], {"submit_needs": "all_rows", "rows_per_second": 2}),
    ],
)
def test_omitted_settings_keep_their_values(control, changes, after):
    for change in changes:
        assert control("POST", "bulk", change).status_code == 200
    assert control("GET", "state").json()["bulk"] == {**SETTINGS, **after}


def test_the_sandbox_object_sets_the_speed(leadmagic_sandbox, control):
    leadmagic_sandbox.bulk_submit_needs = "all_rows"
    leadmagic_sandbox.bulk_speed(5, paused_clock=True)
    expected = {"rows_per_second": 5, "paused_clock": True, "submit_needs": "all_rows"}
    assert control("GET", "state").json()["bulk"] == expected
    leadmagic_sandbox.bulk_speed()
    assert control("GET", "state").json()["bulk"] == {**expected, "rows_per_second": None, "paused_clock": False}


@pytest.mark.parametrize("invalid", [0, -1, float("nan"), float("inf"), "fast"])
def test_an_invalid_speed_is_rejected(leadmagic_sandbox, invalid):
    with pytest.raises(ValueError, match="rows_per_second"):
        leadmagic_sandbox.bulk_speed(invalid)


def test_advance_processes_a_number_of_rows(control, submit, read_job):
    control("POST", "bulk", {"paused_clock": True})
    job_id = submit(5).json()["jobId"]
    assert control("POST", "bulk/advance", {"rows": 3}).json() == {"rows": 3}
    assert read_job(job_id)["processed_items"] == 3
    assert control("POST", "bulk/advance", {"rows": 3}).json() == {"rows": 2}


def test_a_job_with_a_speed_progresses_over_time(leadmagic_sandbox, submit, read_job, balance, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1e9)
    leadmagic_sandbox.bulk_speed(10)
    job_id = submit(50).json()["jobId"]
    monkeypatch.setattr("time.time", lambda: 1e9 + 2)
    assert balance()["credits"] == 980
    assert read_job(job_id)["processed_items"] == 20


def test_jobs_are_listed_oldest_first(leadmagic_sandbox, control, submit):
    first = submit(3, idempotencyKey="k").json()
    submit([{"email": "invalid"}], "email_validation")
    assert control("GET", "bulk/jobs").json()[0] == {
        "job_id": first["jobId"],
        "token": first["token"],
        "product": "email_finder",
        "status": "completed",
        "idempotency_key": "k",
        "rows": 3,
        "processed": 3,
        "failed": 0,
        "skipped": 0,
        "credits": 3,
    }
    assert [(job.product, job.failed) for job in leadmagic_sandbox.bulk_jobs] == [
        ("email_finder", 0),
        ("email_validation", 1),
    ]


def test_charges_and_submits_are_counted(control, submit):
    job_id = submit(2, idempotencyKey="k").json()["jobId"]
    submit(2, idempotencyKey="k")
    assert control("GET", f"bulk/jobs/{job_id}/charges").json() == {"0": 1, "1": 1}
    assert control("GET", "bulk/submits").json() == {"k": 2}


def test_returned_counts_are_copies(leadmagic_sandbox, submit):
    job_id = submit(1, idempotencyKey="k").json()["jobId"]
    leadmagic_sandbox.charges_per_row(job_id).clear()
    assert leadmagic_sandbox.charges_per_row(job_id) == {0: 1}


def test_a_job_can_be_failed(leadmagic_sandbox, control, submit, read_job):
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    jobs = [submit(2).json()["jobId"] for _ in range(2)]
    leadmagic_sandbox.fail_job(jobs[0])
    assert control("POST", f"bulk/jobs/{jobs[1]}/fail").json()["status"] == "failed"
    assert [read_job(job)["status"] for job in jobs] == ["failed", "failed"]


def test_a_reset_removes_jobs_and_idempotency_keys_and_resets_the_settings(leadmagic_sandbox, submit, control):
    leadmagic_sandbox.bulk_speed(3, paused_clock=True)
    old = submit(2, idempotencyKey="k").json()["jobId"]
    leadmagic_sandbox.reset()
    assert (leadmagic_sandbox.bulk_jobs, leadmagic_sandbox.submits_of("k")) == ([], 0)
    assert control("GET", "state").json()["bulk"] == SETTINGS
    assert submit(2, idempotencyKey="k").json()["jobId"] != old


@pytest.mark.parametrize("name", ["bulk/jobs/{}/charges", "bulk/jobs/{}/fail"])
def test_a_control_of_an_unknown_job_returns_404(control, name):
    assert control("GET" if "charges" in name else "POST", name.format("unknown")).status_code == 404


class TestMadeUpJob:
    @pytest.fixture(params=["object", "http"])
    def make_up(self, request, leadmagic_sandbox, control):
        if request.param == "object":
            return leadmagic_sandbox.make_up_job
        return lambda rows: control("POST", "bulk/jobs", {"rows": rows}).json()["job_id"]

    def test_it_is_completed_and_costs_nothing(self, leadmagic_sandbox, make_up, read_job):
        snapshot = read_job(make_up(12_345_678))
        assert (snapshot["status"], snapshot["processed_items"], snapshot["failed_items"]) == (
            "completed",
            12_345_678,
            0,
        )
        assert snapshot["total_credits_consumed"] == "12345678.00"
        assert leadmagic_sandbox.credits == 1000

    @pytest.mark.parametrize(
        ("parameters", "rows"),
        [
            ({"limit": 3}, [3, 2, 1]),
            ({"offset": 999_998, "limit": 2}, [999_997, 999_996]),
            ({"offset": 1_000_000, "limit": 9}, [1_000_001, 1_000_000]),
            ({"offset": 1_000_002}, []),
            ({"status": "success", "limit": 1}, [3]),
            ({"status": "failed"}, []),
        ],
    )
    def test_its_rows_are_generated_as_they_are_read(self, leadmagic_sandbox, read_job, parameters, rows):
        page = read_job(leadmagic_sandbox.make_up_job(1_000_002), "/results", **parameters)["rows"]
        assert [row["row_index"] for row in page] == rows
        assert [row["lm_input"]["full_name"] for row in page] == [f"Lead {row}" for row in rows]
        assert [row["lm_output"]["email"] for row in page] == [f"lead.{row}@example.com" for row in rows]

    @pytest.mark.parametrize("rows", [1, 5, 4001])
    def test_its_download_equals_its_results(self, leadmagic_sandbox, call, read_job, rows):
        job_id = leadmagic_sandbox.make_up_job(rows)
        lines = call("GET", f"/bulk/jobs/{job_id}/download").text.splitlines()
        pages = [read_job(job_id, "/results", limit=1000, offset=offset)["rows"] for offset in range(0, rows, 1000)]
        downloaded = [{name: value or None for name, value in row.items()} for row in csv.DictReader(lines)]
        for row in downloaded:
            row["lm_input"], row["lm_output"] = json.loads(row["lm_input"]), json.loads(row["lm_output"])
            row["row_index"], row["http_status_code"] = int(row["row_index"]), int(row["http_status_code"])
        assert downloaded == [row for page in pages for row in page]

    def test_it_can_be_restarted_for_credits(self, leadmagic_sandbox, change_job, read_job):
        job_id = leadmagic_sandbox.make_up_job(3)
        again = change_job(job_id, "restart").json()["newJobId"]
        assert read_job(again)["total_credits_consumed"] == "3.00"
        assert leadmagic_sandbox.credits == 997

    @pytest.mark.parametrize("rows", [0, -1])
    def test_it_must_have_a_row(self, leadmagic_sandbox, rows):
        with pytest.raises(ValueError, match="rows must be 1 or more; got"):
            leadmagic_sandbox.make_up_job(rows)
