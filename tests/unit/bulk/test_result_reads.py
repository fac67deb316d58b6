"""Results are read from the download, or page by page if the download is not in the expected format."""

from __future__ import annotations

import json
import logging
from itertools import islice

import pytest

from airflow_provider_leadmagic.api.bulk import MAX_PAGE_SIZE, Bulk
from airflow_provider_leadmagic.bulk import results
from airflow_provider_leadmagic.bulk.results import read_results
from airflow_provider_leadmagic.bulk.sorting import ResultSorter
from airflow_provider_leadmagic.exceptions import (
    LeadMagicAuthenticationError,
    LeadMagicNotFoundError,
    LeadMagicPermissionError,
)

ROWS = [{"full_name": name, "domain": "acme.example"} for name in ("Jane Doe", "invalid", "Joe Doe")]
HEADER = "row_index,status,lm_input,lm_output,credits_consumed,error_message,http_status_code"
VALID_ROW = "{},success,{{}},{{}},1,,200"
THREE_ROWS = "\n".join([HEADER, *map(VALID_ROW.format, range(3))])


@pytest.fixture
def read(client):
    """Return a function that reads the results of a job and returns them in row order."""

    def read(job, **options):
        with ResultSorter() as sorter:
            read_results(client, job, sorter, job.expected_results(), **options)
            return list(islice(sorter.by_row(), job.total_rows))

    return read


@pytest.fixture
def paths(leadmagic_sandbox):
    """Return a function that lists the last path segment of each request for a job."""
    return lambda: [call.path.rpartition("/")[2] for call in leadmagic_sandbox.requests_to("/bulk/jobs/*/*")]


def test_results_are_read_by_one_download(finished, read, paths):
    results = read(finished(ROWS))
    assert [result.outcome for result in results] == ["success", "failed", "success"]
    assert paths() == ["download"]


def test_a_byte_order_mark_at_the_beginning_of_the_download_is_skipped(finished, read, paths, leadmagic_sandbox):
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", body=f"\ufeff{THREE_ROWS}", content_type="text/csv")
    assert [result.outcome for result in read(finished(ROWS))] == ["success", "success", "success"]
    assert paths() == ["download"]


def test_download_and_pages_return_the_same_results(finished, read, leadmagic_sandbox):
    job = finished(ROWS)
    downloaded = read(job)
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", status=404)
    assert read(job) == downloaded


@pytest.mark.parametrize(
    ("download", "problem"),
    [
        ("", "has no column row_index, status, lm_input"),
        ("Row,Email\n0,jane@acme.example", "has no column row_index, status, lm_input"),
        (THREE_ROWS.replace(",lm_output", ",output"), "has no column lm_output;"),
        (f"{HEADER}\n{VALID_ROW.format('first')}", "is invalid in line 2 (ValueError)"),
        (f"{HEADER}\n{VALID_ROW.format('-1')}", "is invalid in line 2 (ValueError)"),
        (f"{HEADER}\n{VALID_ROW.format('9' * 30)}", "is invalid in line 2 (ValueError)"),
        (f"{THREE_ROWS}\n0,,,,,,", "is invalid in line 5 (ValueError)"),
        (f"{THREE_ROWS}\n0,success,jane,,,,", "is invalid in line 5 (JSONDecodeError)"),
        (f"{THREE_ROWS}\n0,success,[1],,,,", "is invalid in line 5 (ValueError)"),
        (f"{THREE_ROWS}\n0,success,,{{}}x,,,", "is invalid in line 5 (ValueError)"),
        (f"{THREE_ROWS}\n0,success", "has 2 cells instead of 7 in line 5"),
        (f"{THREE_ROWS}\n0,success,,,,,,too much", "has 8 cells instead of 7 in line 5"),
        (f'{THREE_ROWS}\n0,success,"{{', "is invalid in line 5 (Error)"),
        (f"{HEADER}\n{VALID_ROW.format(0)}", "has 1 of 3 results"),
    ],
)
def test_an_unexpected_download_is_replaced_by_the_pages(
    finished, read, paths, leadmagic_sandbox, caplog, download, problem
):
    job = finished(ROWS)
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", body=download, content_type="text/csv")
    with caplog.at_level(logging.INFO, "airflow_provider_leadmagic.bulk"):
        results = read(job)
    assert [result.found for result in results] == [result.found for result in read(job)]
    assert paths() == ["download", "results", "download"]
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith(f"Bulk job {job.job_id}: the download {problem}")
    assert line.endswith("; reading the results page by page.")
    assert "jane" not in line.lower()


def test_additional_columns_and_their_order_are_ignored(finished, read, paths, leadmagic_sandbox):
    job = finished(ROWS)
    header = ",".join(["extra", *reversed(HEADER.split(","))])
    lines = [f"x,200,,0.50,,,success,{index}" for index in range(3)]
    body = "\n".join([header, *lines])
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", body=body, content_type="text/csv")
    assert [result.credits_consumed for result in read(job)] == [0.5] * 3
    assert paths() == ["download"]


@pytest.mark.parametrize(
    ("cell", "found"), [("", None), (" ", None), ("null", None), ("{}", {}), (' {""a"": 1}\n', {"a": 1})]
)
def test_a_json_cell_may_be_empty_or_have_spaces_around_it(finished, read, paths, leadmagic_sandbox, cell, found):
    job = finished(ROWS[:1])
    body = f'{HEADER}\n0,success,,"{cell}",,,'
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", body=body, content_type="text/csv")
    assert [result.found for result in read(job)] == [found]
    assert paths() == ["download"]


@pytest.mark.parametrize("price", ["much", "Infinity", "-1", "1.000,5"])
def test_invalid_price_of_a_row_is_unknown(finished, read, paths, leadmagic_sandbox, price):
    job = finished(ROWS[:1])
    body = f'{HEADER}\n0,success,,,"{price}",,'
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", body=body, content_type="text/csv")
    assert [(result.outcome, result.credits_consumed) for result in read(job)] == [("success", None)]
    assert paths() == ["download"]


@pytest.mark.usefixtures("sleeps")
@pytest.mark.parametrize("status", [403, 404, 405, 500, 503])
def test_failed_download_is_replaced_by_the_pages(finished, read, leadmagic_sandbox, status):
    job = finished(ROWS)
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", status=status, times=None)
    assert [result.outcome for result in read(job)] == ["success", "failed", "success"]


def test_pages_have_the_largest_size(finished, read, leadmagic_sandbox, mocker):
    job = finished(ROWS)
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", status=404)
    results = mocker.spy(Bulk, "results")
    read(job)
    assert results.call_args.kwargs == {"page_size": MAX_PAGE_SIZE}


@pytest.mark.parametrize(("status", "error"), [(401, LeadMagicAuthenticationError), (403, LeadMagicPermissionError)])
def test_results_that_leadmagic_refuses_are_an_error(finished, read, leadmagic_sandbox, status, error):
    job = finished(ROWS)
    leadmagic_sandbox.fail_next("/bulk/jobs/*/*", status=status, times=None)
    with pytest.raises(error):
        read(job, seconds=60)


def test_missing_job_is_an_error(finished, read, leadmagic_sandbox):
    job = finished(ROWS)
    leadmagic_sandbox.reset()
    with pytest.raises(LeadMagicNotFoundError):
        read(job, seconds=60)


@pytest.mark.parametrize(
    ("field", "value", "outcome", "given"),
    [
        ("status", None, "success", {"id": 1}),
        ("status", 200, "success", {"id": 1}),
        ("lm_input", ["Jane"], "success", None),
        ("credits_consumed", "-1", "success", {"id": 1}),
        ("http_status_code", "OK", "success", {"id": 1}),
    ],
)
def test_result_with_an_invalid_field_is_kept(finished, read, leadmagic_sandbox, field, value, outcome, given):
    job = finished(ROWS[:1])
    result = {"row_index": 0, "status": "success", "lm_input": {"id": 1}, "lm_output": {"email": "a@b.example"}}
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", status=404)
    leadmagic_sandbox.fail_next("/bulk/jobs/*/results", body=json.dumps({"rows": [{**result, field: value}]}))
    [kept] = read(job)
    assert (kept.outcome, kept.given, kept.found) == (outcome, given, {"email": "a@b.example"})
    assert kept.credits_consumed is None


@pytest.mark.parametrize("row_index", [None, "first", -1, 1.5, True, "9" * 30], ids=repr)
def test_result_without_a_valid_index_does_not_hide_the_others(finished, read, leadmagic_sandbox, caplog, row_index):
    job = finished(ROWS[:2])
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", status=404)
    rows = [{"row_index": row_index, "status": "success"}, {"row_index": 1, "status": "success"}]
    leadmagic_sandbox.fail_next("/bulk/jobs/*/results", body=json.dumps({"rows": rows}))
    assert [result and result.row_index for result in read(job)] == [None, 1]
    assert f"Bulk job {job.job_id}: ignored 1 results without a valid row_index." in caplog.text


class Clock:
    """A fake clock that only ``sleep`` advances; it calls a function after each pause."""

    def __init__(self):
        self.now, self.pauses, self.after_pause = 1000.0, [], lambda: None

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds
        self.after_pause()


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(results, "time", clock)
    return clock


@pytest.fixture
def late(finished, leadmagic_sandbox, clock):
    """Return a job whose results are late: some when it is read, and all after some pauses."""

    def make(some, pauses):
        job = finished(ROWS)
        body = "\n".join([HEADER, *map(VALID_ROW.format, range(some))])
        page = {"rows": [{"row_index": index, "status": "success"} for index in range(some)]}
        leadmagic_sandbox.fail_next("/bulk/jobs/*/download", body=body, content_type="text/csv", times=None)
        leadmagic_sandbox.fail_next("/bulk/jobs/*/results", body=json.dumps(page), times=pauses)
        return job

    return make


@pytest.mark.parametrize("some", [0, 2])
@pytest.mark.parametrize("pauses", [1, 3, 10])
def test_late_results_are_waited_for(late, read, clock, caplog, some, pauses):
    caplog.set_level(logging.INFO)
    results = read(late(some, pauses), seconds=600)
    assert [result.outcome for result in results] == ["success", "failed", "success"]
    assert clock.pauses == [1, 2, 4, 8, 10, 10, 10, 15, 15, 15][:pauses]
    assert caplog.text.count(f"Results missing: {3 - some} of 3; reading them again in ") == pauses


def test_an_unfinished_row_is_waited_for_like_a_missing_one(finished, read, leadmagic_sandbox, clock):
    job = finished(ROWS)
    body = "\n".join([HEADER, VALID_ROW.format(0), "1,failed,,,,Invalid,422", "2,processing,,,,,"])
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", body=body, content_type="text/csv")
    page = {"rows": [{"row_index": 2, "status": "queued", "lm_output": {}}]}
    leadmagic_sandbox.fail_next("/bulk/jobs/*/results", body=json.dumps(page), times=2)
    assert [result.outcome for result in read(job, seconds=600)] == ["success", "failed", "success"]
    assert clock.pauses == [1, 2]


def test_waiting_for_late_results_ends_after_a_minute_and_a_half(late, read, clock):
    assert [result is not None for result in read(late(2, None), seconds=600)] == [True, True, False]
    assert (len(clock.pauses), sum(clock.pauses)) == (10, 90)


@pytest.mark.parametrize(("seconds", "pauses"), [(0, 0), (0.5, 0), (1, 1), (7, 3), (14, 3)])
def test_waiting_for_late_results_ends_at_the_deadline(late, read, clock, seconds, pauses):
    read(late(2, None), seconds=seconds)
    assert len(clock.pauses) == pauses


def test_time_that_reading_takes_counts(late, read, clock):
    clock.after_pause = lambda: setattr(clock, "now", clock.now + 80)
    read(late(2, None), seconds=600)
    assert clock.pauses == [1, 2]


@pytest.mark.usefixtures("sleeps")
def test_results_are_kept_if_reading_them_again_fails(late, read, leadmagic_sandbox, clock, caplog):
    job = late(2, 1)
    clock.after_pause = lambda: leadmagic_sandbox.fail_next("/bulk/jobs/*/results", status=503, times=None)
    assert [result is not None for result in read(job, seconds=2)] == [True, True, False]
    assert f"Bulk job {job.job_id}: results not read: " in caplog.text


def test_pages_complete_an_incomplete_download(finished, read, leadmagic_sandbox):
    job = finished(ROWS)
    body = "\n".join([HEADER, VALID_ROW.format(0), VALID_ROW.format(1)])
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", body=body, content_type="text/csv")
    page = {"rows": [{"row_index": 2, "status": "success"}]}
    leadmagic_sandbox.fail_next("/bulk/jobs/*/results", body=json.dumps(page))
    assert [result and result.row_index for result in read(job)] == [0, 1, 2]
