"""Rows on their way to LeadMagic: what they would cost, whether they are good, and one job for one key."""

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
def submitted(serve) -> Callable[..., tuple[bytes, bytes]]:
    """Give a function that submits something, and returns the head and the body that arrived."""

    def submit(*args: object, **options: object) -> tuple[bytes, bytes]:
        server = serve(sized(json.dumps(JOB).encode(), b"HTTP/1.1 202 Accepted\r\n"))
        with LeadMagicClient("lm_a_key_nobody_issued", server.url) as client:
            client.bulk.submit(*args, **options)
        [request] = server.requests
        head, _, body = request.partition(b"\r\n\r\n")
        return head, body

    return submit


@pytest.fixture
def temporary_files(monkeypatch) -> list[object]:
    """List the temporary files that are made."""
    made: list[object] = []
    make = tempfile.TemporaryFile

    def remember(*args: object, **options: object) -> object:
        made.append(make(*args, **options))
        return made[-1]

    monkeypatch.setattr("airflow_provider_leadmagic.api.bulk.tempfile.TemporaryFile", remember)
    return made


class TestPreview:
    def test_it_says_the_most_that_rows_can_cost(self, client):
        assert client.bulk.preview("email_validation", [{"email": "a@x.org"}] * 3) == bulk_calls.CostPreview(
            items=3, credits=Decimal("0.75")
        )

    def test_it_is_free(self, client, leadmagic_sandbox):
        client.bulk.preview("email_finder", leads(3))
        assert leadmagic_sandbox.credits == 1000
        assert leadmagic_sandbox.bulk_jobs == []

    @pytest.mark.parametrize(("rows", "requests"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
    def test_many_rows_are_priced_in_parts_and_added_up(self, client, leadmagic_sandbox, monkeypatch, rows, requests):
        monkeypatch.setattr(bulk_calls, "PREVIEW_ROWS", 4)
        seen = client.bulk.preview("mobile_finder", iter([{"work_email": "a@x.org"}] * rows))
        assert (seen.items, seen.credits) == (rows, 5 * rows)
        assert len(leadmagic_sandbox.requests_to(PREVIEW)) == requests

    def test_a_part_is_as_large_as_leadmagic_allows(self, client, leadmagic_sandbox):
        assert client.bulk.preview("email_finder", leads(10_001)).credits == 10_001
        assert [request.status for request in leadmagic_sandbox.requests] == [200, 200]

    @pytest.mark.parametrize("exceeding", [1, 2])
    def test_a_budget_that_one_part_exceeds_is_exceeded(self, client, leadmagic_sandbox, monkeypatch, exceeding):
        monkeypatch.setattr(bulk_calls, "PREVIEW_ROWS", 1)
        for part in (1, 2):
            answer = {"totalItems": 1, "totalCredits": 1, "willExceedBudget": part == exceeding}
            leadmagic_sandbox.fail_next(PREVIEW, body=json.dumps(answer))
        assert client.bulk.preview("email_finder", leads(2)).will_exceed_budget

    def test_fractions_add_up_exactly(self, client, leadmagic_sandbox, monkeypatch):
        monkeypatch.setattr(bulk_calls, "PREVIEW_ROWS", 1)
        leadmagic_sandbox.fail_next(PREVIEW, body='{"totalItems": 1, "totalCredits": 0.1}', times=3)
        assert client.bulk.preview("email_finder", leads(3)).credits == Decimal("0.3")

    def test_rows_are_not_read_ahead_of_what_is_priced(self, client, leadmagic_sandbox, monkeypatch):
        monkeypatch.setattr(bulk_calls, "PREVIEW_ROWS", 2)
        asked_before = []

        def rows():
            for row in leads(6):
                asked_before.append(len(leadmagic_sandbox.requests_to(PREVIEW)))
                yield row

        client.bulk.preview("email_finder", rows())
        assert asked_before == [0, 0, 1, 1, 2, 2]


class TestValidate:
    def test_it_returns_what_leadmagic_says_and_keeps_nothing(self, client, leadmagic_sandbox):
        assert client.bulk.validate("email_finder", iter(leads(2)))["totalRows"] == 2
        assert (leadmagic_sandbox.bulk_jobs, leadmagic_sandbox.credits) == ([], 1000)

    def test_what_leadmagic_refuses_is_raised(self, client):
        with pytest.raises(LeadMagicRequestError, match="Request validation failed"):
            client.bulk.validate("role_finder", [{"job_title": "CTO", "company_name": "X"}])


class TestSubmit:
    def test_it_makes_a_job_of_the_rows(self, client, leadmagic_sandbox):
        job = client.bulk.submit("email_finder", leads(3), idempotency_key="k1")
        [made] = leadmagic_sandbox.bulk_jobs
        assert (job.job_id, job.status, job.total_rows, job.processed) == (made.job_id, "uploaded", 3, 0)
        assert (made.product, made.idempotency_key, made.rows) == ("email_finder", "k1", 3)

    def test_the_rows_arrive_as_they_were_given(self, client, leadmagic_sandbox):
        rows = [
            {"full_name": "Zoë \u2603 \U0001f600", "domain": 'a"b\\c\n', "extra": [1, 2.5, None, True, {"a": "b"}]},
            {"full_name": "Half a \ud83d", "domain": "example.com", "extra": {}},
        ]
        job = client.bulk.submit("email_finder", rows, idempotency_key="k1")
        results = sorted(client.bulk.results(job.job_id), key=lambda row: row["row_index"])
        assert [row["lm_input"] for row in results] == rows

    def test_a_generator_is_read_once_and_to_its_end(self, client, leadmagic_sandbox):
        rows = (row for row in leads(4))
        assert client.bulk.submit("email_finder", rows, idempotency_key="k1").total_rows == 4
        assert next(rows, "nothing") == "nothing"

    def test_the_body_says_no_more_than_it_was_told(self, submitted):
        _, body = submitted("email_finder", leads(2), idempotency_key='k"1')
        assert json.loads(body) == {
            "product": "email_finder",
            "idempotencyKey": 'k"1',
            "rows": leads(2),
        }

    def test_the_job_can_be_named(self, submitted):
        _, body = submitted("email_finder", leads(1), idempotency_key="k1", file_name="a.csv")
        assert json.loads(body)["fileName"] == "a.csv"

    def test_the_length_is_announced_and_the_key_is_in_its_header_only(self, submitted):
        head, body = submitted("email_finder", leads(20_000), idempotency_key="k1")  # many times what a socket takes
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        assert int(headers["Content-Length"]) == len(body) > 1_000_000
        assert "Transfer-Encoding" not in headers
        assert (headers["Content-Type"], headers["X-API-Key"]) == ("application/json", "lm_a_key_nobody_issued")
        assert b"lm_a_key_nobody_issued" not in body

    @pytest.mark.parametrize("fault", [{"status": 503}, {"drop": True}, {"lose_response": True}], ids=str)
    def test_a_repetition_joins_the_same_job_so_it_may_be_made(self, client, leadmagic_sandbox, sleeps, fault):
        leadmagic_sandbox.fail_next(SUBMIT, **fault)
        job = client.bulk.submit("email_finder", iter(leads(3)), idempotency_key="k1")
        [made] = leadmagic_sandbox.bulk_jobs
        assert (made.job_id, made.rows) == (job.job_id, 3)
        assert leadmagic_sandbox.charges_per_row(job.job_id) == {0: 1, 1: 1, 2: 1}
        assert len(sleeps) == 1

    def test_the_same_key_is_the_same_job_and_another_key_another(self, client, leadmagic_sandbox):
        first, again, other = (
            client.bulk.submit("email_finder", leads(1), idempotency_key=key).job_id for key in ("k1", "k1", "k2")
        )
        assert first == again != other
        assert len(leadmagic_sandbox.bulk_jobs) == 2

    def test_too_few_credits_are_said_at_once(self, client, leadmagic_sandbox, sleeps):
        leadmagic_sandbox.set_credits("0.5")
        with pytest.raises(InsufficientCreditsError):
            client.bulk.submit("email_finder", leads(3), idempotency_key="k1")
        assert (leadmagic_sandbox.submits_of("k1"), sleeps) == (1, [])

    def test_a_balance_read_before_is_forgotten(self, client, leadmagic_sandbox):
        client.get_credits()
        leadmagic_sandbox.fail_next(SUBMIT, body=json.dumps(JOB))  # an answer without X-Credits-Remaining
        client.bulk.submit("email_finder", leads(3), idempotency_key="k1")
        leadmagic_sandbox.set_credits(7)
        assert client.get_credits(max_age=3600).credits == 7

    @pytest.mark.parametrize("body", ["[]", "{}", '{"jobId": "j1"}', '{"jobId": "../x", "status": "uploaded"}'])
    def test_an_answer_that_is_no_job_is_an_error_of_ours(self, client, leadmagic_sandbox, body):
        leadmagic_sandbox.fail_next(SUBMIT, body=body)
        with pytest.raises(LeadMagicResponseError, match=r"^Invalid bulk job: "):
            client.bulk.submit("email_finder", leads(1), idempotency_key="k1")

    @pytest.mark.parametrize("key", ["", " ", None, 5], ids=repr)
    def test_without_a_key_nothing_is_submitted(self, client, leadmagic_sandbox, key):
        with pytest.raises(ValueError, match=r"^idempotency_key must be text that is not blank; got "):
            client.bulk.submit("email_finder", leads(1), idempotency_key=key)
        assert leadmagic_sandbox.requests == []

    @pytest.mark.parametrize("name", ["", 5], ids=repr)
    def test_a_blank_file_name_is_refused(self, client, name):
        with pytest.raises(ValueError, match=r"^file_name must be text that is not blank; got "):
            client.bulk.submit("email_finder", leads(1), idempotency_key="k1", file_name=name)


SENDERS = [
    pytest.param(lambda client, *args: client.bulk.preview(*args), PREVIEW, id="preview"),
    pytest.param(lambda client, *args: client.bulk.validate(*args), VALIDATE, id="validate"),
    pytest.param(lambda client, *args: client.bulk.submit(*args, idempotency_key="k1"), SUBMIT, id="submit"),
]


@pytest.mark.parametrize(("send", "path"), SENDERS)
class TestWhateverRowsAreSentFor:
    @pytest.mark.parametrize(
        ("bad", "words"),
        [
            pytest.param({"n": float("nan")}, "row 3 must be plain JSON: Out of range float", id="NaN"),
            pytest.param({"n": [float("-inf")]}, "row 3 must be plain JSON: Out of range float", id="infinity"),
            pytest.param({"n": Decimal(1)}, "row 3 must be plain JSON: .*Decimal is not JSON", id="Decimal"),
            pytest.param({"n": b"a@x.org"}, "row 3 must be plain JSON: .*bytes is not JSON", id="bytes"),
            pytest.param({1: "a@x.org"}, "row 3 must have text as column names", id="number as name"),
            pytest.param("a@x.org", "row 3 must be a dict of column names and values; got str", id="text"),
            pytest.param(None, "row 3 must be a dict of column names and values; got NoneType", id="None"),
            pytest.param([["a", "b"]], "row 3 must be a dict of column names and values; got list", id="list"),
        ],
    )
    def test_a_row_that_is_not_plain_json_is_named_by_its_number(
        self, client, leadmagic_sandbox, temporary_files, send, path, bad, words
    ):
        with pytest.raises(ValueError, match=f"^{words}") as caught:
            send(client, "email_finder", [*leads(2), bad, *leads(1)])
        assert "a@x.org" not in str(caught.value)
        assert leadmagic_sandbox.requests == []
        assert all(file.closed for file in temporary_files)

    def test_a_row_that_holds_itself_is_named_by_its_number(self, client, send, path):
        row = {}
        row["self"] = row
        with pytest.raises(ValueError, match=r"^row 1 must be plain JSON: Circular reference"):
            send(client, "email_finder", [row])

    def test_a_row_too_deep_to_write_is_named_by_its_number(self, client, send, path):
        value = []
        for _ in range(100_000):
            value = [value]
        with pytest.raises(ValueError, match=r"^row 1 must be plain JSON: "):
            send(client, "email_finder", [{"n": value}])

    @pytest.mark.parametrize("rows", [[], iter(())], ids=["list", "iterator"])
    def test_no_rows_are_refused_before_any_request(self, client, leadmagic_sandbox, send, path, rows):
        with pytest.raises(ValueError, match=r"^rows must hold at least one row; got none$"):
            send(client, "email_finder", rows)
        assert leadmagic_sandbox.requests == []

    @pytest.mark.parametrize("product", ["astrology", "technographics", None], ids=repr)
    def test_a_product_no_bulk_job_knows_is_refused_before_any_request(
        self, client, leadmagic_sandbox, send, path, product
    ):
        with pytest.raises(ValueError, match=r"^product must be one of email_finder, .* for a bulk job; got "):
            send(client, product, leads(1))
        assert leadmagic_sandbox.requests == []

    @pytest.mark.parametrize("fails", [False, True], ids=["success", "failure"])
    def test_the_temporary_file_is_closed(self, client, leadmagic_sandbox, temporary_files, send, path, fails):
        if fails:
            leadmagic_sandbox.fail_next(path, status=401)
        try:
            send(client, "email_finder", leads(2))
        except LeadMagicAuthenticationError:
            assert fails
        assert [file.closed for file in temporary_files] == [True]

    def test_what_passes_is_tried_again_with_the_whole_body(self, client, leadmagic_sandbox, sleeps, send, path):
        leadmagic_sandbox.fail_next(path, drop=True, times=2)
        leadmagic_sandbox.fail_next(path, status=429)
        send(client, "email_finder", iter(leads(500)))
        assert [request.status for request in leadmagic_sandbox.requests_to(path)][2:] in ([429, 200], [429, 202])

    @pytest.mark.parametrize(
        ("fault", "error"), [({"status": 503}, LeadMagicServerError), ({"drop": True}, LeadMagicConnectionError)]
    )
    def test_what_does_not_pass_is_raised_after_four_tries(
        self, client, leadmagic_sandbox, sleeps, send, path, fault, error
    ):
        leadmagic_sandbox.fail_next(path, **fault, times=None)
        with pytest.raises(error):
            send(client, "email_finder", leads(1))
        assert len(leadmagic_sandbox.requests_to(path)) == 4
