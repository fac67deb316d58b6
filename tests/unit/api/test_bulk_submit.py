"""Tests of client.bulk.preview, validate and submit."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from decimal import Decimal

import pytest

from airflow_provider_leadmagic.api import bulk as bulk_calls
from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.exceptions import (
    InsufficientCreditsError,
    LeadMagicAuthenticationError,
    LeadMagicConnectionError,
    LeadMagicRequestError,
    LeadMagicResponseError,
    LeadMagicServerError,
)
from tests.support.responses import sized

PREVIEW, VALIDATE, SUBMIT = "/v1/batch/preview-cost", "/bulk/validate", "/bulk/submit"
JOB = {"jobId": "j1", "status": "uploaded", "totalRows": 2}


def leads(count: int) -> list[dict[str, object]]:
    return [{"full_name": f"Lead {number}", "domain": "example.com"} for number in range(count)]


@pytest.fixture
def sent(serve) -> Callable[..., tuple[bytes, bytes]]:
    """Return a function that submits a job and returns the headers and the body of the request."""

    def submit(*args: object, **options: object) -> tuple[bytes, bytes]:
        server = serve(sized(json.dumps(JOB).encode(), b"HTTP/1.1 202 Accepted\r\n"))
        with LeadMagicClient("lm_unknown_key", server.url) as client:
            client.bulk.submit(*args, **options)
        [request] = server.requests
        head, _, body = request.partition(b"\r\n\r\n")
        return head, body

    return submit


@pytest.fixture
def temporary_files(monkeypatch) -> list[object]:
    """Return a list to which each new temporary file is added."""
    files: list[object] = []
    create = tempfile.TemporaryFile

    def remember(*args: object, **options: object) -> object:
        files.append(create(*args, **options))
        return files[-1]

    monkeypatch.setattr("airflow_provider_leadmagic.api.bulk.tempfile.TemporaryFile", remember)
    return files


class TestPreview:
    def test_preview_returns_the_maximum_price(self, client):
        assert client.bulk.preview("email_validation", [{"email": "a@x.org"}] * 3) == bulk_calls.CostPreview(
            items=3, credits=Decimal("0.75")
        )

    def test_preview_is_free(self, client, leadmagic_sandbox):
        client.bulk.preview("email_finder", leads(3))
        assert leadmagic_sandbox.credits == 1000
        assert leadmagic_sandbox.bulk_jobs == []

    @pytest.mark.parametrize(("rows", "requests"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
    def test_many_rows_are_priced_in_batches(self, client, leadmagic_sandbox, monkeypatch, rows, requests):
        monkeypatch.setattr(bulk_calls, "PREVIEW_ROWS", 4)
        preview = client.bulk.preview("mobile_finder", iter([{"work_email": "a@x.org"}] * rows))
        assert (preview.items, preview.credits) == (rows, 5 * rows)
        assert len(leadmagic_sandbox.requests_to(PREVIEW)) == requests

    def test_batch_has_the_largest_allowed_size(self, client, leadmagic_sandbox):
        assert client.bulk.preview("email_finder", leads(10_001)).credits == 10_001
        assert [request.status for request in leadmagic_sandbox.requests] == [200, 200]

    @pytest.mark.parametrize("exceeding", [1, 2])
    def test_budget_is_exceeded_if_one_batch_exceeds_it(self, client, leadmagic_sandbox, monkeypatch, exceeding):
        monkeypatch.setattr(bulk_calls, "PREVIEW_ROWS", 1)
        for part in (1, 2):
            response = {"totalItems": 1, "totalCredits": 1, "willExceedBudget": part == exceeding}
            leadmagic_sandbox.fail_next(PREVIEW, body=json.dumps(response))
        assert client.bulk.preview("email_finder", leads(2)).will_exceed_budget

    def test_fractions_are_added_exactly(self, client, leadmagic_sandbox, monkeypatch):
        monkeypatch.setattr(bulk_calls, "PREVIEW_ROWS", 1)
        leadmagic_sandbox.fail_next(PREVIEW, body='{"totalItems": 1, "totalCredits": 0.1}', times=3)
        assert client.bulk.preview("email_finder", leads(3)).credits == Decimal("0.3")

    def test_rows_are_read_batch_by_batch(self, client, leadmagic_sandbox, monkeypatch):
        monkeypatch.setattr(bulk_calls, "PREVIEW_ROWS", 2)
        requests_before = []

        def rows():
            for row in leads(6):
                requests_before.append(len(leadmagic_sandbox.requests_to(PREVIEW)))
                yield row

        client.bulk.preview("email_finder", rows())
        assert requests_before == [0, 0, 1, 1, 2, 2]


class TestValidate:
    def test_validate_returns_the_response_and_submits_nothing(self, client, leadmagic_sandbox):
        assert client.bulk.validate("email_finder", iter(leads(2)))["totalRows"] == 2
        assert (leadmagic_sandbox.bulk_jobs, leadmagic_sandbox.credits) == ([], 1000)

    def test_rejection_is_raised(self, client):
        with pytest.raises(
            LeadMagicRequestError, match=r"^Request rejected \(400 validation_error\): Request validation failed"
        ):
            client.bulk.validate("role_finder", [{"job_title": "CTO", "company_name": "X"}])


class TestSubmit:
    def test_submit_creates_a_job(self, client, leadmagic_sandbox):
        job = client.bulk.submit("email_finder", leads(3), idempotency_key="k1")
        [submitted] = leadmagic_sandbox.bulk_jobs
        assert (job.job_id, job.status, job.total_rows, job.processed) == (submitted.job_id, "uploaded", 3, 0)
        assert (submitted.product, submitted.idempotency_key, submitted.rows) == ("email_finder", "k1", 3)

    def test_rows_are_sent_unchanged(self, client, leadmagic_sandbox):
        rows = [
            {"full_name": "Zoë \u2603 \U0001f600", "domain": 'a"b\\c\n', "extra": [1, 2.5, None, True, {"a": "b"}]},
            {"full_name": "Half a \ud83d", "domain": "example.com", "extra": {}},
        ]
        job = client.bulk.submit("email_finder", rows, idempotency_key="k1")
        results = sorted(client.bulk.results(job.job_id), key=lambda row: row["row_index"])
        assert [row["lm_input"] for row in results] == rows

    def test_generator_is_read_once(self, client, leadmagic_sandbox):
        rows = (row for row in leads(4))
        assert client.bulk.submit("email_finder", rows, idempotency_key="k1").total_rows == 4
        assert next(rows, "nothing") == "nothing"

    def test_body_has_only_the_given_fields(self, sent):
        _, body = sent("email_finder", leads(2), idempotency_key='k"1')
        assert json.loads(body) == {
            "product": "email_finder",
            "idempotencyKey": 'k"1',
            "rows": leads(2),
        }

    def test_file_name_is_sent(self, sent):
        _, body = sent("email_finder", leads(1), idempotency_key="k1", file_name="a.csv")
        assert json.loads(body)["fileName"] == "a.csv"

    def test_request_has_a_content_length_and_the_api_key_only_in_its_header(self, sent):
        head, body = sent("email_finder", leads(20_000), idempotency_key="k1")  # far more than a socket buffer
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        assert int(headers["Content-Length"]) == len(body) > 1_000_000
        assert "Transfer-Encoding" not in headers
        assert (headers["Content-Type"], headers["X-API-Key"]) == ("application/json", "lm_unknown_key")
        assert b"lm_unknown_key" not in body

    @pytest.mark.parametrize("fault", [{"status": 503}, {"drop": True}, {"lose_response": True}], ids=str)
    def test_retry_returns_the_same_job(self, client, leadmagic_sandbox, sleeps, fault):
        leadmagic_sandbox.fail_next(SUBMIT, **fault)
        job = client.bulk.submit("email_finder", iter(leads(3)), idempotency_key="k1")
        [submitted] = leadmagic_sandbox.bulk_jobs
        assert (submitted.job_id, submitted.rows) == (job.job_id, 3)
        assert leadmagic_sandbox.charges_per_row(job.job_id) == {0: 1, 1: 1, 2: 1}
        assert len(sleeps) == 1

    def test_each_idempotency_key_has_one_job(self, client, leadmagic_sandbox):
        first, again, other = (
            client.bulk.submit("email_finder", leads(1), idempotency_key=key).job_id for key in ("k1", "k1", "k2")
        )
        assert first == again != other
        assert len(leadmagic_sandbox.bulk_jobs) == 2

    def test_insufficient_credits_are_not_retried(self, client, leadmagic_sandbox, sleeps):
        leadmagic_sandbox.set_credits("0.5")
        with pytest.raises(InsufficientCreditsError):
            client.bulk.submit("email_finder", leads(3), idempotency_key="k1")
        assert (leadmagic_sandbox.submits_of("k1"), sleeps) == (1, [])

    def test_cached_balance_is_discarded(self, client, leadmagic_sandbox):
        client.get_credits()
        leadmagic_sandbox.fail_next(SUBMIT, body=json.dumps(JOB))  # a response without X-Credits-Remaining
        client.bulk.submit("email_finder", leads(3), idempotency_key="k1")
        leadmagic_sandbox.set_credits(7)
        assert client.get_credits(max_age=3600).credits == 7

    @pytest.mark.parametrize("body", ["[]", "{}", '{"jobId": "j1"}', '{"jobId": "../x", "status": "uploaded"}'])
    def test_invalid_response_is_rejected(self, client, leadmagic_sandbox, body):
        leadmagic_sandbox.fail_next(SUBMIT, body=body)
        with pytest.raises(LeadMagicResponseError, match=r"^Invalid bulk job: "):
            client.bulk.submit("email_finder", leads(1), idempotency_key="k1")

    @pytest.mark.parametrize("key", ["", " ", None, 5], ids=repr)
    def test_blank_idempotency_key_is_rejected(self, client, leadmagic_sandbox, key):
        with pytest.raises(ValueError, match=r"^idempotency_key must be text that is not blank; got "):
            client.bulk.submit("email_finder", leads(1), idempotency_key=key)
        assert leadmagic_sandbox.requests == []

    @pytest.mark.parametrize("name", ["", 5], ids=repr)
    def test_blank_file_name_is_rejected(self, client, name):
        with pytest.raises(ValueError, match=r"^file_name must be text that is not blank; got "):
            client.bulk.submit("email_finder", leads(1), idempotency_key="k1", file_name=name)


SENDERS = [
    pytest.param(lambda client, *args: client.bulk.preview(*args), PREVIEW, id="preview"),
    pytest.param(lambda client, *args: client.bulk.validate(*args), VALIDATE, id="validate"),
    pytest.param(lambda client, *args: client.bulk.submit(*args, idempotency_key="k1"), SUBMIT, id="submit"),
]


@pytest.mark.parametrize(("send", "path"), SENDERS)
class TestSendingRows:
    @pytest.mark.parametrize(
        ("row", "message"),
        [
            pytest.param({"n": float("nan")}, "row 3 must be plain JSON: Out of range float", id="NaN"),
            pytest.param({"n": [float("-inf")]}, "row 3 must be plain JSON: Out of range float", id="infinity"),
            pytest.param({"n": Decimal("NaN")}, "row 3 must be plain JSON: Decimal is not a JSON type", id="Decimal"),
            pytest.param({"n": b"a@x.org"}, "row 3 must be plain JSON: bytes is not a JSON type", id="bytes"),
            pytest.param({1: "a@x.org"}, "row 3 must have text as column names", id="number as name"),
            pytest.param("a@x.org", "row 3 must be a dict of column names and values; got str", id="text"),
            pytest.param(None, "row 3 must be a dict of column names and values; got NoneType", id="None"),
            pytest.param([["a", "b"]], "row 3 must be a dict of column names and values; got list", id="list"),
        ],
    )
    def test_invalid_row_is_rejected_with_its_number(
        self, client, leadmagic_sandbox, temporary_files, send, path, row, message
    ):
        with pytest.raises(ValueError, match=f"^{message}") as caught:
            send(client, "email_finder", [*leads(2), row, *leads(1)])
        assert "a@x.org" not in str(caught.value)
        assert leadmagic_sandbox.requests == []
        assert all(file.closed for file in temporary_files)

    def test_recursive_row_is_rejected_with_its_number(self, client, send, path):
        row = {}
        row["self"] = row
        with pytest.raises(ValueError, match=r"^row 1 must be plain JSON: Circular reference"):
            send(client, "email_finder", [row])

    def test_too_deeply_nested_row_is_rejected_with_its_number(self, client, send, path):
        value = []
        for _ in range(100_000):
            value = [value]
        with pytest.raises(ValueError, match=r"^row 1 must be plain JSON: "):
            send(client, "email_finder", [{"n": value}])

    @pytest.mark.parametrize("rows", [[], iter(())], ids=["list", "iterator"])
    def test_empty_rows_are_rejected_before_any_request(self, client, leadmagic_sandbox, send, path, rows):
        with pytest.raises(ValueError, match=r"^rows must hold at least one row; got none$"):
            send(client, "email_finder", rows)
        assert leadmagic_sandbox.requests == []

    @pytest.mark.parametrize("product", ["astrology", "technographics", None], ids=repr)
    def test_product_without_bulk_jobs_is_rejected_before_any_request(
        self, client, leadmagic_sandbox, send, path, product
    ):
        with pytest.raises(ValueError, match=r"^product must be one of email_finder, .* for a bulk job; got "):
            send(client, product, leads(1))
        assert leadmagic_sandbox.requests == []

    @pytest.mark.parametrize("fails", [False, True], ids=["success", "failure"])
    def test_temporary_file_is_closed(self, client, leadmagic_sandbox, temporary_files, send, path, fails):
        if fails:
            leadmagic_sandbox.fail_next(path, status=401)
        try:
            send(client, "email_finder", leads(2))
        except LeadMagicAuthenticationError:
            assert fails
        assert [file.closed for file in temporary_files] == [True]

    def test_retry_sends_the_whole_body(self, client, leadmagic_sandbox, sleeps, send, path):
        leadmagic_sandbox.fail_next(path, drop=True, times=2)
        leadmagic_sandbox.fail_next(path, status=429)
        send(client, "email_finder", iter(leads(500)))
        assert [request.status for request in leadmagic_sandbox.requests_to(path)][2:] in ([429, 200], [429, 202])

    @pytest.mark.parametrize(
        ("fault", "error"), [({"status": 503}, LeadMagicServerError), ({"drop": True}, LeadMagicConnectionError)]
    )
    def test_persistent_failure_is_raised_after_four_attempts(
        self, client, leadmagic_sandbox, sleeps, send, path, fault, error
    ):
        leadmagic_sandbox.fail_next(path, **fault, times=None)
        with pytest.raises(error):
            send(client, "email_finder", leads(1))
        assert len(leadmagic_sandbox.requests_to(path)) == 4
