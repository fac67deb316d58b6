"""Results are read from the download, or page by page if the download is not in the expected format."""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import islice

import pytest

from airflow_provider_leadmagic.bulk.results import read_results
from airflow_provider_leadmagic.bulk.sorting import ResultSorter
from airflow_provider_leadmagic.exceptions import (
    LeadMagicNotFoundError,
    LeadMagicPermissionError,
    LeadMagicResponseError,
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
            read_results(client, job, sorter, **options)
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
        (f"{THREE_ROWS}\n0,success,,,much,,", "is invalid in line 5 (ValueError)"),
        (f"{THREE_ROWS}\n0,success,,,Infinity,,", "is invalid in line 5 (ValueError)"),
        (f"{THREE_ROWS}\n0,success", "has 2 cells in line 5"),
        (f"{THREE_ROWS}\n0,success,,,,,,too much", "has 8 cells in line 5"),
        (f'{THREE_ROWS}\n0,success,"{{', "is invalid in line 5 (Error)"),
        (f"{HEADER}\n{VALID_ROW.format(0)}", "has 1 of 3 processed rows"),
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


def test_a_rejected_download_is_an_error(finished, read, paths, leadmagic_sandbox):
    job = finished(ROWS)
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", status=403)
    with pytest.raises(LeadMagicPermissionError):
        read(job)
    assert paths() == ["download"]


def test_a_missing_job_is_an_error(finished, read, leadmagic_sandbox):
    job = finished(ROWS)
    leadmagic_sandbox.reset()
    with pytest.raises(LeadMagicNotFoundError):
        read(job)


def test_an_invalid_page_is_an_error(finished, read, leadmagic_sandbox):
    job = finished(ROWS)
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", status=404)
    leadmagic_sandbox.fail_next("/bulk/jobs/*/results", body='{"rows": [{"status": "success"}]}')
    with pytest.raises(
        LeadMagicResponseError, match=rf"a result with an invalid `row_index` for bulk job {job.job_id}\.$"
    ):
        read(job)


def test_incomplete_results_are_a_transient_error(finished, read):
    job = replace(finished(ROWS), succeeded=3, failed=1)
    with pytest.raises(
        LeadMagicResponseError, match=r"^Results incomplete: LeadMagic's list has 3 of 4 processed rows of bulk job "
    ) as caught:
        read(job)
    assert caught.value.transient


def test_incomplete_results_are_accepted_if_not_all_are_required(finished, read, caplog):
    job = replace(finished(ROWS), succeeded=3, failed=1)
    assert len([each for each in read(job, require_all_results=False) if each]) == 3
    assert f"has 3 of 4 processed rows of bulk job {job.job_id}; writing the others as skipped." in caplog.text
