"""Results are sorted on disk, in a file that is removed automatically."""

from __future__ import annotations

import tempfile
from itertools import islice
from pathlib import Path

import pytest

from airflow_provider_leadmagic.bulk.result_rows import RowResult
from airflow_provider_leadmagic.bulk.sorting import ResultSorter


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """Return an empty directory for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def sorter(directory):
    with ResultSorter() as sorter:
        yield sorter


def success(row_index, email="a@b.example"):
    return RowResult(row_index, "success", {"id": row_index}, {"email": email, "tags": ["\ud83d"]}, 0.25)


def failure(row_index):
    return RowResult(row_index, "failed", {"id": row_index}, None, None, "Invalid domain", 422)


def test_results_are_returned_unchanged_in_row_order(sorter):
    results = [success(0), failure(1), success(2), failure(3)]
    sorter.fill(reversed(results))
    assert list(islice(sorter.by_row(), 4)) == results


def test_a_row_without_a_result_is_none(sorter):
    sorter.fill([success(4), success(1)])
    assert list(islice(sorter.by_row(), 7)) == [None, success(1), None, None, success(4), None, None]


def test_the_later_of_two_results_for_a_row_counts(sorter):
    sorter.fill([failure(0), success(1), success(0)])
    assert list(islice(sorter.by_row(), 3)) == [success(0), success(1), None]
    assert len(sorter) == 2


def test_filling_it_again_replaces_the_content(sorter):
    sorter.fill([success(0), success(1)])
    sorter.fill([failure(0)])
    assert list(islice(sorter.by_row(), 2)) == [failure(0), None]


def test_it_can_be_filled_again_after_an_error(sorter):
    def broken():
        yield success(0)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        sorter.fill(broken())
    sorter.fill([failure(1)])
    assert list(islice(sorter.by_row(), 2)) == [None, failure(1)]


def test_content_is_kept_on_request(sorter):
    sorter.fill([success(0), success(1)])
    sorter.fill([failure(1), success(2)], keep=True)
    assert list(islice(sorter.by_row(), 3)) == [success(0), failure(1), success(2)]


def test_an_unfinished_result_does_not_replace_another_one(sorter):
    sorter.fill([success(0), RowResult(0, "unfinished"), RowResult(1, "unfinished"), RowResult(2, "skipped")])
    assert list(islice(sorter.by_row(), 2)) == [success(0), None]
    assert (len(sorter), sorter.skipped(), sorter.has_earlier()) == (2, 1, False)


def test_earlier_results_of_a_row_are_kept_if_they_differ(sorter):
    sorter.fill([success(0), success(1), success(1), success(2, "first"), success(2, "second"), success(2)])
    assert sorter.has_earlier()
    assert [sorter.earlier(row) for row in range(3)] == [[], [], [success(2, "first"), success(2, "second")]]
    sorter.fill([success(0)])
    assert not sorter.has_earlier()


def test_a_suspect_result_is_doubtful_if_it_describes_another_row_of_the_input(sorter):
    sorter.suspect(3, b"key of a row")
    sorter.suspect(4, b"key of no row")
    assert (sorter.doubtful(), sorter.is_doubtful(3)) == (0, False)
    sorter.confirm_suspects(b"key of a row")
    sorter.doubt(3)
    sorter.doubt(5)
    assert [row for row in range(7) if sorter.is_doubtful(row)] == [3, 5]
    assert sorter.doubtful() == 2


def test_it_returns_the_index_of_the_last_row_with_a_result(sorter):
    assert sorter.last_index() == -1
    sorter.fill([success(7), success(3)])
    assert sorter.last_index() == 7


def test_no_file_remains_even_if_the_process_is_killed(directory, sorter):
    sorter.fill(success(index, "x" * 1_000_000) for index in range(50))  # more than its cache holds
    assert list(Path(directory).iterdir()) == []
    assert len(sorter) == 50
