"""Tests of client.bulk.get, list, results and download."""

from __future__ import annotations

import csv
import gzip
import io
import json
from decimal import Decimal

import pytest
from urllib3 import HTTPResponse

from airflow_provider_leadmagic.api import bulk as bulk_calls
from airflow_provider_leadmagic.api import transport
from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.exceptions import (
    LeadMagicAuthenticationError,
    LeadMagicConnectionError,
    LeadMagicError,
    LeadMagicNotFoundError,
    LeadMagicResponseError,
    LeadMagicServerError,
    ResponseTooLargeError,
)
from tests.support.responses import CHUNKED, CSV, chunk, sized

RESULTS, DOWNLOAD = "/bulk/jobs/*/results", "/bulk/jobs/*/download"
ROWS = b"row_index,status\r\n0,success\r\n"
WHOLE = sized(ROWS, CSV)


@pytest.fixture
def job_id(leadmagic_sandbox):
    """Return the ID of a completed job of seven rows."""
    return leadmagic_sandbox.make_up_job(7)


@pytest.fixture
def target(tmp_path):
    """Return an open file with existing content."""
    with (tmp_path / "results.csv").open("w+b") as file:
        file.write(b"before\n")
        yield file


def content(file):
    file.seek(0)
    return file.read()


def indexes(rows):
    return sorted(row["row_index"] for row in rows)


class TestJob:
    def test_job_is_read_with_one_get(self, client, leadmagic_sandbox, job_id):
        job = client.bulk.get(job_id)
        assert (job.job_id, job.status, job.total_rows, job.succeeded) == (job_id, "completed", 7, 7)
        assert job.credits_consumed == Decimal(7)
        [request] = leadmagic_sandbox.requests
        assert (request.method, request.path) == ("GET", f"/bulk/jobs/{job_id}")

    def test_progress_of_a_running_job(self, client, leadmagic_sandbox):
        leadmagic_sandbox.bulk_speed(paused_clock=True)
        rows = [{"full_name": name, "domain": "example.com"} for name in ("Ada", "invalid", "notfound", "Grace")]
        job_id = client.bulk.submit("email_finder", rows, idempotency_key="k1").job_id
        leadmagic_sandbox.advance_bulk(3)
        job = client.bulk.get(job_id)
        assert (job.status, job.processed, job.succeeded, job.failed) == ("processing", 3, 2, 1)
        assert job.progress() == "3 / 4 rows (75%), 1 credits used"

    @pytest.mark.parametrize("other", ["j2", 5, "j1x"])
    def test_the_status_of_another_job_is_an_error(self, client, leadmagic_sandbox, other):
        leadmagic_sandbox.fail_next("/bulk/jobs/*", body=json.dumps({"job_id": other, "status": "completed"}))
        with pytest.raises(LeadMagicResponseError, match=rf"^Response describes another bulk job, {other}\. Check "):
            client.bulk.get("j1")

    @pytest.mark.parametrize("sent", [{}, {"job_id": None}, {"job_id": "a/b"}, {"job_id": "J1"}], ids=str)
    def test_a_status_without_a_valid_id_is_that_of_the_requested_job(self, client, leadmagic_sandbox, sent):
        leadmagic_sandbox.fail_next("/bulk/jobs/*", body=json.dumps({**sent, "status": "completed"}))
        assert client.bulk.get("j1").job_id.lower() == "j1"

    def test_link_token_is_neither_kept_nor_logged(self, client, leadmagic_sandbox, caplog):
        caplog.set_level("DEBUG")
        job = client.bulk.submit("email_validation", [{"email": "a@x.org"}], idempotency_key="k1")
        [submitted] = leadmagic_sandbox.bulk_jobs
        assert submitted.token not in f"{job!r} {client.bulk.get(job.job_id)!r} {caplog.text}"
        assert " returned 200 in " in caplog.text


class TestJobs:
    @pytest.mark.parametrize(("page", "requests"), [(2, 2), (3, 2), (4, 1)])
    def test_jobs_are_listed_newest_first_until_a_short_page(
        self, client, leadmagic_sandbox, monkeypatch, page, requests
    ):
        monkeypatch.setattr(bulk_calls, "MAX_JOBS", page)
        job_ids = [leadmagic_sandbox.make_up_job(rows) for rows in (1, 2, 3)]
        jobs = list(client.bulk.list())
        assert [job.job_id for job in jobs] == job_ids[::-1]
        assert [job.total_rows for job in jobs] == [3, 2, 1]
        assert len(leadmagic_sandbox.requests) == requests

    @pytest.mark.parametrize("page", [2, 3, 4])
    def test_the_latest_jobs_are_read_with_one_request(self, client, leadmagic_sandbox, monkeypatch, page):
        monkeypatch.setattr(bulk_calls, "MAX_JOBS", page)
        job_ids = [leadmagic_sandbox.make_up_job(rows) for rows in (1, 2, 3)]
        assert [job.job_id for job in client.bulk.latest()] == job_ids[::-1][:page]
        assert len(leadmagic_sandbox.requests) == 1

    def test_listed_job_has_its_file_name(self, client):
        rows = [{"email": "a@x.org"}]
        job_id = client.bulk.submit("email_validation", rows, idempotency_key="k1", file_name="mine").job_id
        [job] = client.bulk.list()
        assert (job.job_id, job.file_name, job.status) == (job_id, "mine", "completed")

    def test_list_stops_at_the_largest_offset(self, client, leadmagic_sandbox, monkeypatch):
        monkeypatch.setattr(bulk_calls, "MAX_JOBS", 2)
        monkeypatch.setattr(bulk_calls, "MAX_JOBS_OFFSET", 2)
        for _ in range(6):
            leadmagic_sandbox.make_up_job(1)
        assert len(list(client.bulk.list())) == 4

    def test_invalid_job_is_skipped_with_a_warning(self, client, leadmagic_sandbox, caplog):
        body = '{"jobs": [{"job_id": "one", "status": "completed"}, {}, {"job_id": "two", "status": "paused"}]}'
        leadmagic_sandbox.fail_next("/bulk/jobs", body=body)
        assert [job.job_id for job in client.bulk.list()] == ["one", "two"]
        assert "Skipped a job in LeadMagic's list. Invalid bulk job: " in caplog.text

    def test_listed_job_with_invalid_counts_keeps_its_id_and_file_name(self, client, leadmagic_sandbox):
        body = '{"jobs": [{"job_id": 7, "status": "completed", "file_name": "mine", "total_credits_consumed": "-1,0"}]}'
        leadmagic_sandbox.fail_next("/bulk/jobs", body=body)
        [job] = client.bulk.list()
        assert (job.job_id, job.file_name, job.credits_consumed) == ("7", "mine", None)

    def test_list_follows_the_page_size_of_the_server(self, client, leadmagic_sandbox):
        for jobs in ('{"job_id": "one", "status": "completed"}', '{"job_id": "two", "status": "completed"}', ""):
            leadmagic_sandbox.fail_next("/bulk/jobs", body=f'{{"jobs": [{jobs}], "limit": 1}}')
        assert [job.job_id for job in client.bulk.list()] == ["one", "two"]

    @pytest.mark.parametrize("body", ["{}", "[]", '{"jobs": [1]}'])
    def test_invalid_list_is_rejected(self, client, leadmagic_sandbox, body):
        leadmagic_sandbox.fail_next("/bulk/jobs", body=body)
        with pytest.raises(LeadMagicResponseError):
            list(client.bulk.list())

    def test_transient_error_is_retried(self, client, leadmagic_sandbox, job_id, sleeps):
        leadmagic_sandbox.fail_next("/bulk/jobs", status=503, times=3)
        assert [job.job_id for job in client.bulk.list()] == [job_id]
        assert len(sleeps) == 3


class TestPages:
    @pytest.mark.parametrize(
        ("page_size", "requests"), [(3, 3), (6, 2), (7, 2), (8, 1), (1000, 1)], ids=lambda value: str(value)
    )
    def test_pages_are_read_until_a_short_page(self, client, leadmagic_sandbox, job_id, page_size, requests):
        rows = list(client.bulk.results(job_id, page_size=page_size))
        assert indexes(rows) == list(range(7))
        assert len(leadmagic_sandbox.requests) == requests

    def test_pages_are_read_lazily(self, client, leadmagic_sandbox, job_id):
        rows = client.bulk.results(job_id, page_size=2)
        assert leadmagic_sandbox.requests == []
        next(rows)
        assert len(leadmagic_sandbox.requests) == 1

    def test_row_has_input_output_and_status(self, client, job_id):
        row = next(row for row in client.bulk.results(job_id) if row["row_index"] == 4)
        assert row["lm_input"] == {"full_name": "Lead 4", "domain": "example.com"}
        assert (row["status"], row["lm_output"]["email"]) == ("success", "lead.4@example.com")

    @pytest.mark.parametrize(("status", "found"), [(None, [0, 1]), ("success", [0]), ("failed", [1])])
    def test_rows_are_filtered_by_status(self, client, status, found):
        rows = [{"full_name": name, "domain": "example.com"} for name in ("Ada", "invalid")]
        job_id = client.bulk.submit("email_finder", rows, idempotency_key="k1").job_id
        assert indexes(client.bulk.results(job_id, status=status)) == found

    def test_results_follow_the_page_size_of_the_server(self, serve):
        pages = ({"rows": [{"row_index": 0}, {"row_index": 1}], "limit": 2}, {"rows": [{"row_index": 2}], "limit": 2})
        bodies = [json.dumps(page).encode() for page in pages]
        server = serve(*map(sized, bodies))
        with LeadMagicClient("k", server.url) as client:
            assert indexes(client.bulk.results("j1", page_size=200)) == [0, 1, 2]
        targets = [request.split(b" ")[1] for request in server.requests]
        assert targets == [b"/bulk/jobs/j1/results?limit=200&offset=%d" % offset for offset in (0, 2)]

    def test_a_page_over_the_limit_of_a_body_is_requested_in_halves(self, client, leadmagic_sandbox, monkeypatch):
        job_id = leadmagic_sandbox.make_up_job(100)
        monkeypatch.setattr(transport, "MAX_BODY_BYTES", 5_000)  # ten rows, but not twenty
        assert indexes(client.bulk.results(job_id, page_size=80)) == list(range(100))
        assert len(leadmagic_sandbox.requests) == len([80, 40, 20]) + len(range(0, 101, 10))

    def test_a_row_over_the_limit_of_a_body_is_an_error(self, client, leadmagic_sandbox, job_id, monkeypatch):
        monkeypatch.setattr(transport, "MAX_BODY_BYTES", 10)
        with pytest.raises(ResponseTooLargeError, match=r"^Response over 10 bytes: "):
            list(client.bulk.results(job_id, page_size=5))
        assert len(leadmagic_sandbox.requests) == len([5, 2, 1])

    @pytest.mark.parametrize("limit", [{}, {"limit": None}, {"limit": 0}, {"limit": "2"}, {"limit": 1000}], ids=str)
    def test_invalid_page_size_of_the_server_is_ignored(self, client, leadmagic_sandbox, limit):
        leadmagic_sandbox.fail_next(RESULTS, body=json.dumps({"rows": [{"row_index": 0}], **limit}))
        assert indexes(client.bulk.results("j1", page_size=2)) == [0]

    @pytest.mark.parametrize(("path", "name", "default"), [("/bulk/jobs", "jobs", 50), (RESULTS, "rows", 200)])
    def test_a_page_of_the_servers_default_size_is_not_taken_for_the_last_one_if_it_states_no_limit(
        self, client, leadmagic_sandbox, path, name, default
    ):
        items = [{"job_id": f"j{index}", "status": "completed", "row_index": index} for index in range(default + 1)]
        for page in (items[:default], items[default:]):
            leadmagic_sandbox.fail_next(path, body=json.dumps({name: page}))
        found = client.bulk.list() if name == "jobs" else client.bulk.results("j1", page_size=1000)
        assert len(list(found)) == default + 1

    def test_retried_page_neither_loses_nor_repeats_rows(self, client, leadmagic_sandbox, job_id, sleeps):
        rows = client.bulk.results(job_id, page_size=2)
        received = [next(rows)]
        leadmagic_sandbox.fail_next(RESULTS, truncate=True, times=2)
        assert indexes([*received, *rows]) == list(range(7))
        assert len(sleeps) == 2

    @pytest.mark.parametrize("body", ["{}", '{"rows": null}', '{"rows": {}}', '{"rows": [1]}'])
    def test_invalid_page_is_rejected(self, client, leadmagic_sandbox, body):
        leadmagic_sandbox.fail_next(RESULTS, body=body)
        with pytest.raises(LeadMagicResponseError, match="`rows` is not a list of objects"):
            list(client.bulk.results("j1"))

    @pytest.mark.parametrize("page_size", [0, 1001, -1, True, 2.0, "2", None], ids=repr)
    def test_invalid_page_size_is_rejected(self, client, page_size):
        with pytest.raises(ValueError, match=r"^page_size must be a whole number from 1 to 1000; got "):
            client.bulk.results("j1", page_size=page_size)

    @pytest.mark.parametrize(("status", "error"), [("", ValueError), (5, ValueError)])
    def test_invalid_status_is_rejected(self, client, status, error):
        with pytest.raises(error, match=r"^status must be text that is not blank; got "):
            client.bulk.results("j1", status=status)


class TestDownload:
    def test_download_writes_the_csv(self, client, leadmagic_sandbox, job_id):
        file = io.BytesIO()
        size = client.bulk.download(job_id, file)
        rows = list(csv.DictReader(io.StringIO(file.getvalue().decode(), newline="")))
        assert size == len(file.getvalue())
        assert sorted(int(row["row_index"]) for row in rows) == list(range(7))
        [request] = leadmagic_sandbox.requests
        assert (request.method, request.path) == ("GET", f"/bulk/jobs/{job_id}/download")

    def test_download_accepts_csv(self, serve):
        server = serve(WHOLE)
        with LeadMagicClient("lm_unknown_key", server.url) as client:
            assert client.bulk.download("j1", io.BytesIO()) == len(ROWS)
        assert b"\r\nAccept: text/csv\r\n" in server.requests[0]

    def test_download_starts_at_the_current_position(self, client, target, job_id):
        size = client.bulk.download(job_id, target)
        assert target.tell() == len(b"before\n") + size
        assert content(target).startswith(b"before\nid,row_index,")

    def test_download_can_exceed_the_body_limit(self, client, leadmagic_sandbox, target, monkeypatch):
        monkeypatch.setattr(transport, "MAX_BODY_BYTES", 1000)
        assert client.bulk.download(leadmagic_sandbox.make_up_job(100), target) > 10_000

    def test_download_is_written_in_chunks(self, client, leadmagic_sandbox, monkeypatch):
        monkeypatch.setattr(transport, "DOWNLOAD_CHUNK", 1000)

        class RecordingFile(io.BytesIO):
            sizes: list[int] = []  # noqa: RUF012 - there is only one instance

            def write(self, data):
                self.sizes.append(len(data))
                return super().write(data)

        file = RecordingFile()
        total = client.bulk.download(leadmagic_sandbox.make_up_job(100), file)
        assert total == sum(file.sizes) > 10_000
        assert max(file.sizes) <= 1000

    def test_compressed_download_is_decompressed(self, serve):
        file = io.BytesIO()
        response = sized(gzip.compress(ROWS), CSV + b"Content-Encoding: gzip\r\n")
        with LeadMagicClient("k", serve(response).url) as client:
            assert client.bulk.download("j1", file) == len(ROWS)
        assert file.getvalue() == ROWS

    def test_download_updates_credits_remaining(self, client, leadmagic_sandbox, job_id):
        leadmagic_sandbox.set_credits(7)
        client.bulk.download(job_id, io.BytesIO())
        assert client.credits_remaining == 7


class TestInterruptedDownload:
    @pytest.mark.parametrize("fault", [{"truncate": True}, {"drop": True}, {"status": 503}, {"status": 429}], ids=str)
    def test_retry_starts_at_the_initial_position(self, client, leadmagic_sandbox, target, job_id, sleeps, fault):
        leadmagic_sandbox.fail_next(DOWNLOAD, **fault, times=3)
        size = client.bulk.download(job_id, target)
        written = content(target)
        assert len(written) == len(b"before\n") + size
        assert written.count(b"row_index") == 1
        assert len(sleeps) == 3

    @pytest.mark.usefixtures("sleeps")
    def test_shorter_retry_leaves_no_rest_of_the_first_attempt(self, serve, target):
        cut = CSV + CHUNKED + chunk(ROWS * 9)  # one complete chunk, without the empty one that ends a body
        server = serve(cut, WHOLE)
        with LeadMagicClient("k", server.url) as client:
            assert client.bulk.download("j1", target) == len(ROWS)
        assert content(target) == b"before\n" + ROWS

    def test_short_body_is_detected_with_urllib3_1(self, serve, monkeypatch):
        lenient = property(lambda self: False, lambda self, value: None)
        monkeypatch.setattr(HTTPResponse, "enforce_content_length", lenient, raising=False)
        with (
            LeadMagicClient("k", serve(WHOLE[:-1]).url, max_attempts=1) as client,
            pytest.raises(
                LeadMagicConnectionError, match=r"^Response cut short: .* shorter than its Content-Length\. \["
            ),
        ):
            client.bulk.download("j1", io.BytesIO())


class TestRejectedDownload:
    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            ({"status": 401}, LeadMagicAuthenticationError),
            ({"status": 404}, LeadMagicNotFoundError),
            ({"status": 501}, LeadMagicServerError),
        ],
        ids=str,
    )
    def test_error_response_is_raised_and_not_written(self, client, leadmagic_sandbox, target, job_id, fault, error):
        leadmagic_sandbox.fail_next(DOWNLOAD, **fault)
        with pytest.raises(error, match=r" \(\d+ \w+\): .*/download, "):
            client.bulk.download(job_id, target)
        assert content(target) == b"before\n"

    @pytest.mark.parametrize("status", [200, 400])
    def test_long_error_page_is_not_read_to_the_end(self, client, leadmagic_sandbox, target, monkeypatch, status):
        monkeypatch.setattr(transport, "MAX_BODY_BYTES", 1000)
        leadmagic_sandbox.fail_next(DOWNLOAD, status=status, body="x" * 2000, content_type="text/html")
        with pytest.raises(LeadMagicResponseError, match=r"^Response over 1,000 bytes: "):
            client.bulk.download("j1", target)
        assert content(target) == b"before\n"

    @pytest.mark.parametrize(
        "fault",
        [
            {"body": "<html>Sign in</html>", "content_type": "text/html; charset=utf-8"},
            {"body": '{"url": "x"}', "content_type": "Application/JSON"},
            {"body": "later", "status": 202, "content_type": "text/csv"},
        ],
        ids=str,
    )
    def test_response_that_is_not_csv_is_not_written(self, client, leadmagic_sandbox, target, fault):
        leadmagic_sandbox.fail_next(DOWNLOAD, **fault)
        with pytest.raises(LeadMagicResponseError, match=r"^Response is not CSV \(\d+\): "):
            client.bulk.download("j1", target)
        assert content(target) == b"before\n"

    @pytest.mark.parametrize("kind", ["text/csv; charset=utf-8", "application/octet-stream", "text/plain", ""])
    def test_other_content_types_of_csv_are_accepted(self, client, leadmagic_sandbox, kind):
        leadmagic_sandbox.fail_next(DOWNLOAD, body="a,b\n", content_type=kind)
        assert client.bulk.download("j1", io.BytesIO()) == 4

    def test_redirect_is_not_followed(self, client, leadmagic_sandbox, target):
        leadmagic_sandbox.fail_next(DOWNLOAD, redirect_to="https://example.com/?token=hunter2")
        with pytest.raises(LeadMagicResponseError, match=r"^Redirected \(302\): ") as caught:
            client.bulk.download("j1", target)
        assert "hunter2" not in str(caught.value)
        assert content(target) == b"before\n"

    def test_full_disk_is_not_reported_as_a_leadmagic_error(self, client, leadmagic_sandbox, job_id, sleeps):
        class FullDisk(io.BytesIO):
            def write(self, *_):
                raise OSError(28, "No space left on device")

        with pytest.raises(OSError, match="No space left on device") as caught:
            client.bulk.download(job_id, FullDisk())
        assert not isinstance(caught.value, LeadMagicError)
        assert (len(leadmagic_sandbox.requests), sleeps) == (1, [])


@pytest.mark.parametrize("job_id", ["../../v1/credits", "a?b", "", None], ids=repr)
@pytest.mark.parametrize("read", ["results", "download"])
def test_unsafe_job_id_is_rejected_before_any_request(client, leadmagic_sandbox, read, job_id):
    arguments = [io.BytesIO()] if read.startswith("download") else []
    with pytest.raises(ValueError, match=r"^job_id must be 1 to 100 letters, .* and not only dots; got "):
        getattr(client.bulk, read)(job_id, *arguments)
    assert leadmagic_sandbox.requests == []
