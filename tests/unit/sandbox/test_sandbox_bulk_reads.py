"""Reads of a job: status, progress, results, errors, download."""

from __future__ import annotations

import csv
import json
from datetime import datetime

import pytest
import requests

NAMES = ["Jane", "notfound", "invalid", "Joe", "Jim", "invalid too"]
ROWS = [{"full_name": name, "domain": "example.com", "crm_id": index} for index, name in enumerate(NAMES)]


@pytest.fixture
def job_id(submit):
    return submit(ROWS).json()["jobId"]


@pytest.fixture
def read_csv(call):
    return lambda job_id: list(csv.DictReader(call("GET", f"/bulk/jobs/{job_id}/download").text.splitlines()))


def test_the_job_status_has_the_fields_of_the_contract(read_job, job_id):
    snapshot = read_job(job_id)
    moments = [datetime.fromisoformat(snapshot.pop(f"{name}_at")) for name in ("created", "started", "last_progress")]
    assert moments == sorted(moments)
    assert snapshot.pop("completed_at") is not None
    assert snapshot.pop("total_duration_ms") >= 0
    assert snapshot.pop("links")["token"].startswith("prt_")
    assert snapshot == {
        "job_id": job_id,
        "status": "completed",
        "products": ["email_finder"],
        "submission_product": "email_finder",
        "submission_endpoint": None,
        "execution_mode": None,
        "total_rows": 6,
        "processed_items": 6,
        "succeeded_items": 4,
        "failed_items": 2,
        "skipped_items": 0,
        "total_credits_consumed": "3.00",
        "file_name": None,
        "callback_url": None,
        "callback_event": None,
        "priority": 0,
        "output_transform": None,
    }


def test_a_submitted_job_has_no_times_except_its_creation(leadmagic_sandbox, submit, read_job):
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    snapshot = read_job(submit().json()["jobId"])
    missing = ("started_at", "completed_at", "last_progress_at", "total_duration_ms")
    assert [snapshot[name] for name in missing] == [None] * 4


@pytest.mark.parametrize("path", ["/bulk/progress?jobId={}", "/bulk/jobs/{}/progress"])
def test_the_progress_has_status_and_counts_only(call, job_id, path):
    assert call("GET", path.format(job_id)).json() == {
        "status": "completed",
        "processed_items": 6,
        "total_rows": 6,
        "succeeded_items": 4,
        "failed_items": 2,
    }


def test_progress_without_a_job_id_is_rejected(call):
    response = call("GET", "/bulk/progress")
    assert (response.status_code, response.json()["errors"][0]["param"]) == (400, ["jobId"])


def test_progress_of_an_unknown_job_returns_404(call):
    assert call("GET", "/bulk/progress?jobId=unknown").status_code == 404


class TestList:
    @pytest.fixture
    def job_ids(self, submit, change_job, leadmagic_sandbox):
        leadmagic_sandbox.bulk_speed(paused_clock=True)
        ids = [submit(1, fileName=f"{number}.csv").json()["jobId"] for number in range(3)]
        ids.append(submit([{"email": "jane@example.com"}], "email_validation").json()["jobId"])
        change_job(ids[0], "pause")
        return ids

    @pytest.mark.parametrize(
        ("parameters", "expected"),
        [
            ({}, [3, 2, 1, 0]),
            ({"limit": 2}, [3, 2]),
            ({"limit": 2, "offset": 2}, [1, 0]),
            ({"offset": 4}, []),
            ({"status": "paused"}, [0]),
            ({"status": "no such status"}, []),
            ({"product": "email_validation"}, [3]),
            ({"product": "email_finder", "status": "uploaded", "limit": 1}, [2]),
        ],
    )
    def test_it_is_newest_first_filtered_and_paged(self, call, job_ids, parameters, expected):
        body = call("GET", "/bulk/jobs", params=parameters).json()
        assert [job_ids.index(job["job_id"]) for job in body["jobs"]] == expected
        assert (body["limit"], body["offset"]) == (parameters.get("limit", 50), parameters.get("offset", 0))

    def test_it_contains_no_token(self, call, leadmagic_sandbox, job_ids):
        text = call("GET", "/bulk/jobs").text
        assert not [job for job in leadmagic_sandbox.bulk_jobs if job.token in text]


class TestRows:
    def test_a_hit_has_the_result_of_the_single_lookup(self, call, read_job, job_id):
        (row,) = [row for row in read_job(job_id, "/results")["rows"] if row["row_index"] == 0]
        single = call("POST", "/v1/people/email-finder", json=ROWS[0]).json()
        assert row.pop("lm_output") == {name: value for name, value in single.items() if name != "credits_consumed"}
        assert row.pop("id").startswith(job_id[:24])
        assert datetime.fromisoformat(row.pop("completed_at"))
        assert row == {
            "row_index": 0,
            "status": "success",
            "lm_input": ROWS[0],
            "credits_consumed": "1.00",
            "error_message": None,
            "http_status_code": 200,
            "response_time_ms": None,
        }

    def test_a_miss_is_a_free_success(self, read_job, job_id):
        (row,) = [row for row in read_job(job_id, "/results")["rows"] if row["row_index"] == 1]
        assert (row["status"], row["lm_output"]["email"], row["credits_consumed"]) == ("success", None, "0.00")

    def test_a_failed_row_has_an_error_message(self, read_job, job_id):
        (row,) = [row for row in read_job(job_id, "/results")["rows"] if row["row_index"] == 2]
        assert (row["status"], row["http_status_code"], row["lm_output"]) == ("failed", 422, None)
        assert row["error_message"] == "Invalid full_name format: invalid"
        assert row["credits_consumed"] == "0.00"

    @pytest.mark.parametrize(
        ("product", "row", "message"),
        [
            ("email_validation", {}, "Missing required field: email."),
            ("email_validation", {"email": 7}, "Field email must be text."),
            ("email_validation", {"email": "no address"}, "Email format is invalid."),
            ("email_validation", {"email": "Invalid-format"}, "Invalid email format: Invalid-format"),
        ],
    )
    def test_a_row_that_a_single_lookup_would_reject_fails(self, submit, read_job, product, row, message):
        (failed,) = read_job(submit([row], product).json()["jobId"], "/errors")["rows"]
        assert failed["error_message"].startswith(message)
        assert failed["http_status_code"] == 422

    def test_a_flaky_row_fails_with_503(self, submit, read_job):
        (failed,) = read_job(submit([{"full_name": "Flaky", "domain": "x.com"}]).json()["jobId"], "/errors")["rows"]
        assert failed["http_status_code"] == 503

    @pytest.mark.parametrize("rows", [2, 3, 4, 9, 50])
    def test_all_rows_are_returned_but_never_in_the_order_of_submission(self, submit, read_job, rows):
        done = [row["row_index"] for row in read_job(submit(rows).json()["jobId"], "/results")["rows"]]
        assert done != list(range(rows))
        assert sorted(done) == list(range(rows))

    def test_rows_appear_when_they_are_completed_and_keep_their_positions(self, leadmagic_sandbox, submit, read_job):
        leadmagic_sandbox.bulk_speed(paused_clock=True)
        job_id = submit(6).json()["jobId"]
        seen = []
        for _ in range(3):
            seen.append([row["row_index"] for row in read_job(job_id, "/results")["rows"]])
            leadmagic_sandbox.advance_bulk(2)
        assert [len(page) for page in seen] == [0, 2, 4]
        assert seen[2][:2] == seen[1]

    def test_the_pages_contain_each_row_once(self, submit, read_job):
        job_id = submit(25).json()["jobId"]
        pages = [read_job(job_id, "/results", limit=10, offset=offset)["rows"] for offset in (0, 10, 20, 30)]
        assert [len(page) for page in pages] == [10, 10, 5, 0]
        assert sorted(row["row_index"] for page in pages for row in page) == list(range(25))

    def test_a_page_has_200_rows_by_default(self, submit, read_job):
        page = read_job(submit(201).json()["jobId"], "/results")
        assert (len(page["rows"]), page["limit"], page["offset"]) == (200, 200, 0)
        assert page.keys() == {"rows", "limit", "offset"}

    @pytest.mark.parametrize(
        ("below", "parameters", "expected"),
        [
            # Rows 3, 2, 1 and 0 are completed first, then 5 and 4.
            ("/results", {}, [3, 2, 1, 0, 5, 4]),
            ("/results", {"status": "success"}, [3, 1, 0, 4]),
            ("/results", {"status": "failed"}, [2, 5]),
            ("/results", {"status": "pending"}, []),
            ("/results", {"offset": 10**30}, []),
            ("/results", {"status": "failed", "limit": 1, "offset": 1}, [5]),
            ("/errors", {}, [2, 5]),
            ("/errors", {"status": "failed"}, [2, 5]),
            ("/errors", {"status": "success"}, []),
            ("/errors", {"limit": 1}, [2]),
        ],
    )
    def test_rows_are_filtered_by_status(self, read_job, job_id, below, parameters, expected):
        assert [row["row_index"] for row in read_job(job_id, below, **parameters)["rows"]] == expected


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("jobs", {"limit": 0}),
        ("jobs", {"limit": 201}),
        ("jobs", {"offset": 10_001}),
        ("results", {"limit": 1001}),
        ("results", {"limit": "many"}),
        ("results", {"limit": ""}),
        ("results", {"limit": "٣"}),
        ("results", {"offset": -1}),
        ("results", {"offset": "9" * 5000}),
        ("errors", {"limit": 0}),
        ("errors", {"offset": 1_000_001}),
    ],
)
def test_a_number_out_of_range_is_rejected(call, job_id, path, parameters):
    response = call("GET", "/bulk/jobs" if path == "jobs" else f"/bulk/jobs/{job_id}/{path}", params=parameters)
    error = response.json()["errors"][0]
    assert (response.status_code, error["code"], error["param"]) == (400, "validation_error", list(parameters))


class TestDownload:
    def test_it_contains_the_results_as_csv(self, call, read_job, read_csv, job_id):
        results = read_job(job_id, "/results")["rows"]
        downloaded = read_csv(job_id)
        assert [int(row["row_index"]) for row in downloaded] == [row["row_index"] for row in results]
        assert [json.loads(row["lm_input"]) for row in downloaded] == [row["lm_input"] for row in results]
        assert [json.loads(row["lm_output"] or "null") for row in downloaded] == [row["lm_output"] for row in results]
        plain = results[0].keys() - {"lm_input", "lm_output"}
        as_text = [{name: "" if row[name] is None else str(row[name]) for name in plain} for row in results]
        assert [{name: row[name] for name in plain} for row in downloaded] == as_text
        assert call("GET", f"/bulk/jobs/{job_id}/download").headers["Content-Type"].startswith("text/csv")

    def test_it_contains_only_the_completed_rows(self, leadmagic_sandbox, submit, read_csv):
        leadmagic_sandbox.bulk_speed(paused_clock=True)
        job_id = submit(5).json()["jobId"]
        leadmagic_sandbox.advance_bulk(3)
        assert len(read_csv(job_id)) == 3

    def test_text_that_utf_8_cannot_encode_is_escaped(self, submit, read_csv):
        job_id = submit([{"email": "invalid \ud800"}], "email_validation").json()["jobId"]
        assert read_csv(job_id)[0]["error_message"] == r"Invalid email format: invalid \ud800"

    def test_a_client_notices_a_truncated_download(self, leadmagic_sandbox, call, job_id):
        leadmagic_sandbox.fail_next("/bulk/jobs/*/download", truncate=True)
        chunks = call("GET", f"/bulk/jobs/{job_id}/download", stream=True).iter_content(None)
        received = []
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            received.extend(chunks)
        assert b"".join(received).count(b"\n") == 7

    def test_the_sandbox_survives_a_lost_download(self, leadmagic_sandbox, call, job_id, read_csv):
        leadmagic_sandbox.fail_next("/bulk/jobs/*/download", lose_response=True)
        with pytest.raises(requests.ConnectionError):
            call("GET", f"/bulk/jobs/{job_id}/download")
        assert len(read_csv(job_id)) == 6


class TestToken:
    """A job's token replaces the API key only in requests that read the job."""

    @pytest.fixture
    def jobs(self, leadmagic_sandbox, submit):
        submit(1)
        submit(1)
        return leadmagic_sandbox.bulk_jobs

    READS = (
        "/bulk/progress?jobId={}&",
        *(f"/bulk/jobs/{{}}{below}?" for below in ("", "/results", "/errors", "/download", "/progress")),
    )

    @pytest.mark.parametrize("path", READS)
    @pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}])
    def test_it_gives_access_to_the_job(self, call, jobs, path, headers):
        assert call("GET", f"{path.format(jobs[0].job_id)}token={jobs[0].token}", headers=headers).status_code == 200

    @pytest.mark.parametrize("path", READS)
    def test_it_gives_access_to_no_other_job(self, call, jobs, path):
        assert call("GET", f"{path.format(jobs[1].job_id)}token={jobs[0].token}", headers={}).status_code == 401

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/bulk/jobs"),
            ("GET", "/bulk/progress"),
            ("GET", "/v1/credits"),
            ("POST", "/bulk/submit"),
            ("POST", "/bulk/jobs/{}/review"),
            ("POST", "/bulk/jobs/{}/resume"),
            ("POST", "/bulk/jobs/{}"),
        ],
    )
    def test_it_gives_access_to_nothing_else(self, call, jobs, method, path):
        path = f"{path.format(jobs[0].job_id)}?token={jobs[0].token}"
        assert call(method, path, headers={}, json={"action": "reject"}).status_code == 401

    @pytest.mark.parametrize(("age", "status"), [(2 * 86_400 - 60, 200), (2 * 86_400 + 1, 401)])
    def test_it_expires(self, leadmagic_sandbox, call, submit, monkeypatch, age, status):
        body = submit(1).json()
        created = datetime.fromisoformat(body["queue"]["queuedAt"]).timestamp()
        assert body["exp"] == int(created) + 2 * 86_400
        monkeypatch.setattr("time.time", lambda: created + age)
        assert call("GET", body["statusUrl"].removeprefix(leadmagic_sandbox.url), headers={}).status_code == status

    def test_a_wrong_token_is_ignored_if_there_is_an_api_key(self, call, jobs):
        assert call("GET", f"/bulk/jobs/{jobs[0].job_id}?token=wrong").status_code == 200

    def test_the_implemented_links_work_without_an_api_key(self, call, leadmagic_sandbox, submit):
        body = submit(1).json()
        served = [body[f"{name}Url"] for name in ("status", "results", "errors", "download", "progress")]
        responses = [call("GET", link.removeprefix(leadmagic_sandbox.url), headers={}) for link in served]
        assert [response.status_code for response in responses] == [200] * 5
