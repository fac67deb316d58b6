"""Results are sorted on disk, in a file that nobody has to remove."""

from __future__ import annotations

import tempfile
from itertools import islice
from pathlib import Path

import pytest

from airflow_provider_leadmagic.bulk.result_rows import RowResult
from airflow_provider_leadmagic.bulk.sorting import ResultSorter


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def spool(folder):
    with ResultSorter() as spool:
        yield spool


def success(row_index, email="a@b.example"):
    return RowResult(row_index, "success", {"id": row_index}, {"email": email, "tags": ["\ud83d"]}, 0.25)


def failure(row_index):
    return RowResult(row_index, "failed", {"id": row_index}, None, None, "Invalid domain", 422)


def test_results_come_back_as_they_were_in_the_order_of_the_rows(spool):
    results = [success(0), failure(1), success(2), failure(3)]
    spool.fill(reversed(results))
    assert list(islice(spool.by_row(), 4)) == results


def test_a_row_without_a_result_has_none(spool):
    spool.fill([success(4), success(1)])
    assert list(islice(spool.by_row(), 7)) == [None, success(1), None, None, success(4), None, None]


def test_of_two_results_for_a_row_the_later_one_counts(spool):
    spool.fill([failure(0), success(1), success(0)])
    assert list(islice(spool.by_row(), 3)) == [success(0), success(1), None]
    assert len(spool) == 2


def test_filling_it_again_forgets_what_was_there(spool):
    spool.fill([success(0), success(1)])
    spool.fill([failure(0)])
    assert list(islice(spool.by_row(), 2)) == [failure(0), None]


def test_what_breaks_off_can_be_begun_again(spool):
    def broken():
        yield success(0)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        spool.fill(broken())
    spool.fill([failure(1)])
    assert list(islice(spool.by_row(), 2)) == [None, failure(1)]


def test_it_knows_the_last_row_with_a_result(spool):
    assert spool.last_index() == -1
    spool.fill([success(7), success(3)])
    assert spool.last_index() == 7


def test_nothing_has_to_be_removed_even_if_the_process_is_killed(folder, spool):
    spool.fill(success(index, "x" * 1_000_000) for index in range(50))  # more than it keeps in memory
    assert list(Path(folder).iterdir()) == []
    assert len(spool) == 50
