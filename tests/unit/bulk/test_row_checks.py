"""Rows are checked before anything is sent; messages contain the number of an invalid row, but none of its values."""

from __future__ import annotations

from datetime import date

import pytest

from airflow_provider_leadmagic.api.products import find_bulk_product
from airflow_provider_leadmagic.bulk.row_checks import RowSummary, check_rows
from airflow_provider_leadmagic.bulk.rows import row_source

FINDER = find_bulk_product("email_finder")
JANE = {"full_name": "Jane Doe", "domain": "acme.example"}


def circular():
    value: list[object] = []
    value.append(value)
    return value


def test_valid_rows_are_counted():
    rows = [{"crm_id": 1, **JANE}, {**JANE, "crm_id": None}]
    summary = check_rows(row_source(rows=rows), FINDER)
    assert summary == RowSummary(2, summary.digest)


def test_different_rows_have_different_digests():
    rows = [{"full_name": "Ada", "domain": "example.com"}, {"full_name": "Bob", "domain": "example.com"}]
    others = [rows[::-1], rows[:1], [*rows, rows[0]], [rows[0], {**rows[1], "domain": "example.org"}]]
    digests = [check_rows(row_source(rows=each), FINDER).digest for each in (rows, *others)]
    assert len(set(digests)) == 5
    assert check_rows(row_source(rows=[dict(reversed(row.items())) for row in rows]), FINDER).digest == digests[0]


@pytest.mark.parametrize("value", [None, True, 7, 0.5, "ö", [1, {"a": None}], {"nested": "yes"}], ids=repr)
def test_any_json_value_is_valid(value):
    assert check_rows(row_source(rows=[{**JANE, "extra": value}]), FINDER).count == 1


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"full_name": "Jane Doe"}, "must have the same columns as row 1: missing 'domain'"),
        ({**JANE, "x": 1, "y": 1}, "must have the same columns as row 1: unexpected 'x', 'y'"),
        (
            {"domain": "acme.example", "name": "Jane"},
            "must have the same columns as row 1: missing 'full_name'; unexpected 'name'",
        ),
        ({**JANE, "domain": None}, "is missing domain or company_name, required by email_finder"),
        ({**JANE, "domain": " \t"}, "is missing domain or company_name, required by email_finder"),
        (
            {**JANE, "full_name": ""},
            "is missing first_name or last_name or full_name or profile_url, required by email_finder",
        ),
        ({**JANE, "domain": float("nan")}, "has a value that is not JSON-serializable in column 'domain'"),
        ({**JANE, "domain": float("inf")}, "has a value that is not JSON-serializable in column 'domain'"),
        ({**JANE, "domain": date(2026, 1, 1)}, "has a value that is not JSON-serializable in column 'domain'"),
        ({**JANE, "domain": [b"x"]}, "has a value that is not JSON-serializable in column 'domain'"),
        ({**JANE, "domain": circular()}, "has a value that is not JSON-serializable in column 'domain'"),
        ({**JANE, "domain": "half a pair: \ud83d"}, "has a value that is not JSON-serializable in column 'domain'"),
    ],
)
def test_an_invalid_row_is_reported_by_its_number(row, problem):
    with pytest.raises(ValueError, match=rf"^Row 3 {problem}\. \[rows\]$") as caught:
        check_rows(row_source(rows=[JANE, JANE, row]), FINDER)
    assert "Jane" not in str(caught.value)


@pytest.mark.parametrize("note", ["x" * 3 * 2**20, "é" * 2**21], ids=["in characters", "in bytes"])
def test_a_row_whose_result_could_not_be_read_is_rejected(note):
    with pytest.raises(ValueError, match=r"^Row 1 is larger than 3 MiB: shorten column 'note'\. \[rows\]$"):
        check_rows(row_source(rows=[{**JANE, "note": note}]), FINDER)
    assert check_rows(row_source(rows=[{**JANE, "note": "x" * 2**21}]), FINDER).count == 1


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({}, "Row 1 has no columns"),
        ({"": "x"}, "Row 1 has an invalid column name: must be non-blank text; got ''"),
        ({7: "x"}, "Row 1 has an invalid column name: must be non-blank text; got 7"),
    ],
)
def test_every_column_must_have_a_name(row, problem):
    with pytest.raises(ValueError, match=rf"^{problem}\. \[rows\]$"):
        check_rows(row_source(rows=[row]), FINDER)


def test_an_empty_list_is_rejected():
    with pytest.raises(ValueError, match=r"^No rows to enrich\. \[rows\]$"):
        check_rows(row_source(rows=[]), FINDER)


def test_an_invalid_row_of_a_file_is_reported_with_the_path(tmp_path):
    path = tmp_path / "leads.csv"
    path.write_text("full_name,domain\nJane Doe,acme.example\nJoe Doe,\n")
    with pytest.raises(
        ValueError, match=r"^Row 2 is missing domain or company_name, required by email_finder\. \[.*leads\.csv\]$"
    ):
        check_rows(row_source(input_path=path), FINDER)


def test_a_file_without_rows_is_rejected(tmp_path):
    path = tmp_path / "leads.csv"
    path.write_text("full_name,domain\n")
    with pytest.raises(ValueError, match=r"^No rows to enrich\. \[.*leads\.csv\]$"):
        check_rows(row_source(input_path=path), FINDER)
