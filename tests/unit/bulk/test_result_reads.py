"""Results are read from the download, and page by page where it is not the CSV we know."""

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
GOOD = "{},success,{{}},{{}},1,,200"
ALL_GOOD = "\n".join([HEADER, *map(GOOD.format, range(3))])


@pytest.fixture
def read(client):
    """Give a function that reads the results of a job and returns them by row."""

    def read(job, **options):
        with ResultSorter() as spool:
            read_results(client, job, spool, **options)
            return list(islice(spool.by_row(), job.total_rows))

    return read


@pytest.fixture
def paths(leadmagic_sandbox):
    """Give a function that tells what was asked of a job."""
    return lambda: [call.path.rpartition("/")[2] for call in leadmagic_sandbox.requests_to("/bulk/jobs/*/*")]


def test_one_download_is_enough(finished, read, paths):
    results = read(finished(ROWS))
    assert [result.outcome for result in results] == ["success", "failed", "success"]
    assert paths() == ["download"]


def test_download_and_pages_say_the_same(finished, read, leadmagic_sandbox):
    job = finished(ROWS)
    downloaded = read(job)
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", status=404)
    assert read(job) == downloaded


@pytest.mark.parametrize(
    ("download", "problem"),
    [
        ("", "has no column row_index, status, lm_input"),
        ("Row,Email\n0,jane@acme.example", "has no column row_index, status, lm_input"),
        (ALL_GOOD.replace(",lm_output", ",output"), "has no column lm_output;"),
        (f"{HEADER}\n{GOOD.format('first')}", "cannot be read in line 2 (ValueError)"),
        (f"{HEADER}\n{GOOD.format('-1')}", "cannot be read in line 2 (ValueError)"),
        (f"{HEADER}\n{GOOD.format('9' * 30)}", "cannot be read in line 2 (ValueError)"),
        (f"{ALL_GOOD}\n0,,,,,,", "cannot be read in line 5 (ValueError)"),
        (f"{ALL_GOOD}\n0,success,jane,,,,", "cannot be read in line 5 (JSONDecodeError)"),
        (f"{ALL_GOOD}\n0,success,[1],,,,", "cannot be read in line 5 (ValueError)"),
        (f"{ALL_GOOD}\n0,success,,{{}}x,,,", "cannot be read in line 5 (ValueError)"),
        (f"{ALL_GOOD}\n0,success,,,much,,", "cannot be read in line 5 (ValueError)"),
        (f"{ALL_GOOD}\n0,success,,,Infinity,,", "cannot be read in line 5 (ValueError)"),
        (f"{ALL_GOOD}\n0,success", "has 2 cells in line 5"),
        (f"{ALL_GOOD}\n0,success,,,,,,too much", "has 8 cells in line 5"),
        (f'{ALL_GOOD}\n0,success,"{{', "cannot be read in line 5 (Error)"),
        (f"{HEADER}\n{GOOD.format(0)}", "has 1 of the 3 rows that are done"),
    ],
)
def test_a_download_that_is_not_the_csv_we_know_makes_room_for_the_pages(
    finished, read, paths, leadmagic_sandbox, caplog, download, problem
):
    job = finished(ROWS)
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", body=download, content_type="text/csv")
    with caplog.at_level(logging.INFO, "airflow_provider_leadmagic.bulk"):
        results = read(job)
    assert [result.found for result in results] == [result.found for result in read(job)]
    assert paths() == ["download", "results", "download"]
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith(f"The download of bulk job {job.job_id} {problem}")
    assert line.endswith("; reading its results page by page")
    assert "jane" not in line.lower()


def test_more_columns_and_another_order_do_not_matter(finished, read, paths, leadmagic_sandbox):
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
def test_json_in_a_cell_may_be_absent_or_stand_free(finished, read, paths, leadmagic_sandbox, cell, found):
    job = finished(ROWS[:1])
    body = f'{HEADER}\n0,success,,"{cell}",,,'
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", body=body, content_type="text/csv")
    assert [result.found for result in read(job)] == [found]
    assert paths() == ["download"]


def test_a_download_that_is_refused_is_no_reason_for_the_pages(finished, read, paths, leadmagic_sandbox):
    job = finished(ROWS)
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", status=403)
    with pytest.raises(LeadMagicPermissionError):
        read(job)
    assert paths() == ["download"]


def test_a_job_that_does_not_exist_is_an_error(finished, read, leadmagic_sandbox):
    job = finished(ROWS)
    leadmagic_sandbox.reset()
    with pytest.raises(LeadMagicNotFoundError):
        read(job)


def test_a_page_that_cannot_be_read_is_an_error(finished, read, leadmagic_sandbox):
    job = finished(ROWS)
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", status=404)
    leadmagic_sandbox.fail_next("/bulk/jobs/*/results", body='{"rows": [{"status": "success"}]}')
    with pytest.raises(LeadMagicResponseError, match=rf"result of bulk job {job.job_id} whose `row_index` cannot be"):
        read(job)


def test_results_that_are_not_all_there_yet_are_a_reason_to_try_again(finished, read):
    job = replace(finished(ROWS), succeeded=3, failed=1)
    with pytest.raises(LeadMagicResponseError, match="has 3 of the 4 rows that are done") as caught:
        read(job)
    assert caught.value.transient


def test_results_that_are_not_all_there_are_read_if_there_is_no_other_try(finished, read, caplog):
    assert len([each for each in read(replace(finished(ROWS), succeeded=3, failed=1), insist=False) if each]) == 3
    assert "has 3 of the 4 rows that are done; the others are written as skipped" in caplog.text
