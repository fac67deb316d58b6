"""Rows are checked before anything is sent, and a row that is no good is named but not shown."""

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


def test_good_rows_are_summed_up():
    rows = [{"crm_id": 1, **JANE}, {**JANE, "crm_id": None}]
    summary = check_rows(row_source(rows=rows), FINDER)
    assert summary == RowSummary(2, summary.digest)


def test_rows_have_a_digest_that_tells_them_from_others():
    rows = [{"full_name": "Ada", "domain": "example.com"}, {"full_name": "Bob", "domain": "example.com"}]
    others = [rows[::-1], rows[:1], [*rows, rows[0]], [rows[0], {**rows[1], "domain": "example.org"}]]
    digests = [check_rows(row_source(rows=each), FINDER).digest for each in (rows, *others)]
    assert len(set(digests)) == 5
    assert check_rows(row_source(rows=[dict(reversed(row.items())) for row in rows]), FINDER).digest == digests[0]


@pytest.mark.parametrize("value", [None, True, 7, 0.5, "ö", [1, {"a": None}], {"nested": "yes"}], ids=repr)
def test_a_value_may_be_any_plain_json(value):
    assert check_rows(row_source(rows=[{**JANE, "extra": value}]), FINDER).count == 1


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"full_name": "Jane Doe"}, "has other columns than row 1: without 'domain'"),
        ({**JANE, "x": 1, "y": 1}, "has other columns than row 1: with 'x' and 'y'"),
        ({"domain": "acme.example", "name": "Jane"}, "has other columns than row 1: without 'full_name', with 'name'"),
        ({**JANE, "domain": None}, "lacks what email_finder needs: domain or company_name"),
        ({**JANE, "domain": " \t"}, "lacks what email_finder needs: domain or company_name"),
        ({**JANE, "full_name": ""}, "lacks what email_finder needs: first_name or last_name or full_name"),
        ({**JANE, "domain": float("nan")}, "holds a value that is not plain JSON in column 'domain'"),
        ({**JANE, "domain": float("inf")}, "holds a value that is not plain JSON in column 'domain'"),
        ({**JANE, "domain": date(2026, 1, 1)}, "holds a value that is not plain JSON in column 'domain'"),
        ({**JANE, "domain": [b"x"]}, "holds a value that is not plain JSON in column 'domain'"),
        ({**JANE, "domain": circular()}, "holds a value that is not plain JSON in column 'domain'"),
        ({**JANE, "domain": "half a pair: \ud83d"}, "holds a value that is not plain JSON in column 'domain'"),
    ],
)
def test_a_row_that_is_no_good_is_named_by_its_number(row, problem):
    with pytest.raises(ValueError, match=f"^row 3 of rows {problem}") as caught:
        check_rows(row_source(rows=[JANE, JANE, row]), FINDER)
    assert "Jane" not in str(caught.value)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({}, "row 1 of rows has no columns"),
        ({"": "x"}, "row 1 of rows has a column whose name is not text, or blank: ''"),
        ({7: "x"}, "row 1 of rows has a column whose name is not text, or blank: 7"),
    ],
)
def test_columns_have_names(row, problem):
    with pytest.raises(ValueError, match=f"^{problem}$"):
        check_rows(row_source(rows=[row]), FINDER)


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match=r"^rows has no rows: there is nothing to enrich$"):
        check_rows(row_source(rows=[]), FINDER)


def test_a_row_of_a_file_is_named_together_with_the_file(tmp_path):
    path = tmp_path / "leads.csv"
    path.write_text("full_name,domain\nJane Doe,acme.example\nJoe Doe,\n")
    with pytest.raises(ValueError, match=r"^row 2 of .*leads\.csv lacks what email_finder needs: domain"):
        check_rows(row_source(input_path=path), FINDER)


def test_a_file_without_rows_is_named(tmp_path):
    path = tmp_path / "leads.csv"
    path.write_text("full_name,domain\n")
    with pytest.raises(ValueError, match=r"leads\.csv has no rows"):
        check_rows(row_source(input_path=path), FINDER)
