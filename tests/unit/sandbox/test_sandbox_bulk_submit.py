from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
import requests

ROW = {"full_name": "Jane Doe", "domain": "example.com"}
SUBMIT = "/bulk/submit"


@pytest.fixture(autouse=True)
def _paused_clock(leadmagic_sandbox):
    leadmagic_sandbox.bulk_speed(paused_clock=True)


def test_the_response_to_a_submit_describes_the_new_job(leadmagic_sandbox, submit):
    response = submit(3, fileName="leads.csv")
    body = response.json()
    assert response.status_code == 202
    assert body.items() >= {"product": "email_finder", "endpoint": None, "totalRows": 3, "status": "uploaded"}.items()
    assert (body["queue"]["position"], body["queue"]["started"]) == (1, False)
    assert body["token"].startswith("prt_")
    assert UUID(body["jobId"])
    assert response.headers["X-Credits-Remaining"] == "1000.00"


def test_every_link_points_to_the_job_and_has_its_token(leadmagic_sandbox, submit):
    body = submit().json()
    links = {name: link for name, link in body.items() if name.endswith("Url")}
    assert len(links) == 11
    root = f"{leadmagic_sandbox.url}/bulk/jobs/{body['jobId']}"
    assert links["resultsUrl"] == f"{root}/results?token={body['token']}"
    assert links.pop("wsUrl") == f"{root}/ws?token={body['token']}".replace("http", "ws", 1)
    assert all(link.startswith(root) and link.endswith(f"?token={body['token']}") for link in links.values())


def test_jobs_are_queued_in_order_of_submission(submit):
    assert [submit().json()["queue"]["position"] for _ in range(3)] == [1, 2, 3]


def test_the_file_name_is_in_the_job_status(submit, read_job):
    assert read_job(submit(2, fileName="leads.csv").json()["jobId"])["file_name"] == "leads.csv"


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("email\na@example.com\nb@example.com\n", [{"email": "a@example.com"}, {"email": "b@example.com"}]),
        ('\ufeffemail,note\r\n"a@example.com","x, ""y"""\r\n', [{"email": "a@example.com", "note": 'x, "y"'}]),
        ('email,note\na@example.com\n\nb@example.com,"two\nlines"', [
            {"email": "a@example.com"},
            {"email": "b@example.com", "note": "two\nlines"},
        ]),
    ],
    ids=["plain", "quoted", "uneven"],
)  # fmt: skip
def test_rows_may_be_submitted_as_csv(leadmagic_sandbox, call, read_job, text, rows):
    job_id = call("POST", SUBMIT, json={"product": "email_validation", "csv": text}).json()["jobId"]
    leadmagic_sandbox.advance_bulk(len(rows))
    results = read_job(job_id, "/results")["rows"]
    assert [row["lm_input"] for row in sorted(results, key=lambda row: row["row_index"])] == rows


@pytest.mark.parametrize(
    ("body", "param", "detail"),
    [
        ([], None, "dictionary"),
        ({"rows": [ROW]}, ["product"], None),
        (
            {"product": "email_finder"},
            ["rows", "csv", "fileUrl", "scrape"],
            "Exactly one of rows, csv, fileUrl, scrape is required.",
        ),
        ({"product": "email_finder", "rows": [ROW], "csv": "a\nb"}, ["rows", "csv"], "Exactly one"),
        ({"product": "email_finder", "rows": []}, ["rows"], "rows must contain at least one row."),
        ({"product": "email_finder", "rows": [1]}, ["rows"], "rows.0: Input should be a valid dictionary"),
        ({"product": "email_finder", "csv": "full_name,domain\n"}, ["csv"], "csv must contain at least one row."),
        (
            {"product": "email_finder", "csv": "a,b\n1,2,3"},
            ["csv"],
            "csv line 2 is invalid: more cells than the header has columns.",
        ),
        ({"product": "email_finder", "csv": 'a\n"x'}, ["csv"], "csv line 2 is invalid: unexpected end of data"),
        ({"product": "email_sender", "rows": [ROW]}, ["product"], "product must be one of email_finder, "),
        ({"product": "email_finder", "fileUrl": "https://example.com/x.csv"}, ["fileUrl"], "fileUrl is not supported"),
        ({"product": "email_finder", "scrape": {"url": "https://example.com"}}, ["scrape"], "scrape is not supported"),
        (
            {"product": "email_finder", "rows": [ROW], "inputMapping": {}},
            ["inputMapping"],
            "inputMapping is not supported by the sandbox: use the product's field names in the rows.",
        ),
        (
            {"product": "email_finder", "rows": [ROW], "outputTransform": {}},
            ["outputTransform"],
            "outputTransform is not supported by the sandbox: omit it.",
        ),
        ({"product": "email_finder", "rows": [ROW], "presetId": "p"}, ["presetId"], "presetId is not supported"),
        ({"product": "email_finder", "rows": [ROW], "priority": 0}, ["priority"], "priority is not supported by"),
        ({"product": "email_finder", "rows": [ROW], "callback": {}}, ["callback"], "omit it and poll the job"),
        ({"product": "email_finder", "rows": [ROW], "fileName": None}, ["fileName"], "valid string"),
    ],
)
@pytest.mark.parametrize("path", [SUBMIT, "/bulk/validate"])
def test_an_invalid_submission_is_rejected(leadmagic_sandbox, call, path, body, param, detail):
    response = call("POST", path, json=body)
    error = response.json()["errors"][0]
    assert (response.status_code, error.get("param")) == (400, param)
    assert error["code"] == ("validation_error" if detail else "missing_required_field")
    assert (detail or "") in error.get("detail", "")
    assert leadmagic_sandbox.bulk_jobs == []


def test_validation_creates_no_job(leadmagic_sandbox, call):
    response = call(
        "POST", "/bulk/validate", json={"product": "mobile_finder", "rows": [ROW] * 4, "idempotencyKey": "k"}
    )
    assert response.json() == {"valid": True, "product": "mobile_finder", "totalRows": 4, "maxCredits": 20}
    assert leadmagic_sandbox.bulk_jobs == []
    assert leadmagic_sandbox.submits_of("k") == 0


class TestIdempotencyKey:
    def test_the_same_key_returns_the_first_job(self, leadmagic_sandbox, submit):
        first, second = submit(3, idempotencyKey="k"), submit(5, idempotencyKey="k")
        assert second.status_code == 202
        assert second.json() == first.json()
        assert [job.rows for job in leadmagic_sandbox.bulk_jobs] == [3]

    def test_a_completed_job_is_returned_with_its_status_at_submission(self, leadmagic_sandbox, submit):
        first = submit(3, idempotencyKey="k").json()
        leadmagic_sandbox.advance_bulk(3)
        leadmagic_sandbox.set_credits(0)
        again = submit(3, idempotencyKey="k").json()
        assert (again["jobId"], again["status"]) == (first["jobId"], "uploaded")

    @pytest.mark.parametrize("keys", [("a", "b"), ("", ""), (None, None)])
    def test_different_and_missing_keys_create_different_jobs(self, leadmagic_sandbox, submit, keys):
        for key in keys:
            submit(**({} if key is None else {"idempotencyKey": key}))
        assert len({job.job_id for job in leadmagic_sandbox.bulk_jobs}) == 2

    def test_a_submit_whose_response_is_lost_creates_the_job(self, leadmagic_sandbox, submit):
        leadmagic_sandbox.fail_next(SUBMIT, lose_response=True)
        with pytest.raises(requests.ConnectionError):
            submit(idempotencyKey="k")
        (job,) = leadmagic_sandbox.bulk_jobs
        assert submit(idempotencyKey="k").json()["jobId"] == job.job_id
        assert leadmagic_sandbox.submits_of("k") == 2

    def test_a_dropped_submit_creates_no_job(self, leadmagic_sandbox, submit):
        leadmagic_sandbox.fail_next(SUBMIT, drop=True)
        with pytest.raises(requests.ConnectionError):
            submit(idempotencyKey="k")
        assert (leadmagic_sandbox.bulk_jobs, leadmagic_sandbox.submits_of("k")) == ([], 0)

    def test_a_rejected_submit_does_not_use_up_the_key(self, leadmagic_sandbox, submit):
        leadmagic_sandbox.set_credits(0)
        assert submit(idempotencyKey="k").status_code == 402
        leadmagic_sandbox.set_credits(10)
        assert submit(idempotencyKey="k").status_code == 202
        assert leadmagic_sandbox.submits_of("k") == 2

    def test_concurrent_submits_create_one_job(self, leadmagic_sandbox, submit):
        with ThreadPoolExecutor(6) as pool:
            responses = list(pool.map(lambda _: submit(idempotencyKey="k").json()["jobId"], range(12)))
        assert len(set(responses)) == len(leadmagic_sandbox.bulk_jobs) == 1


class TestCreditsAtSubmit:
    @pytest.mark.parametrize(
        ("needs", "credits", "status"),
        [("one_row", "4.99", 402), ("one_row", 5, 202), ("all_rows", "14.99", 402), ("all_rows", 15, 202)],
    )
    def test_a_submit_is_rejected_if_it_requires_more_credits_than_there_are(
        self, leadmagic_sandbox, submit, needs, credits, status
    ):
        leadmagic_sandbox.bulk_submit_needs = needs
        leadmagic_sandbox.set_credits(credits)
        assert submit([{"profile_url": "jane"}] * 3, "mobile_finder").status_code == status

    def test_the_error_reports_the_missing_credits(self, leadmagic_sandbox, submit):
        leadmagic_sandbox.bulk_submit_needs = "all_rows"
        leadmagic_sandbox.set_credits("2.50")
        error = submit(10).json()["errors"][0]
        assert error["code"] == "insufficient_credits"
        assert error["context"] == {"credits_required": 10, "credits_available": 2.5, "credits_needed": 7.5}
        assert leadmagic_sandbox.bulk_jobs == []

    def test_frozen_credits_cover_nothing(self, leadmagic_sandbox, submit):
        leadmagic_sandbox.freeze()
        assert submit().status_code == 402

    def test_a_submit_itself_is_free(self, leadmagic_sandbox, submit):
        submit()
        assert leadmagic_sandbox.credits == 1000
