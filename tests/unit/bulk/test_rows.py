"""Rows come from a list or from a file, as often as somebody reads them, and one at a time."""

from __future__ import annotations

import json
import re
from collections import UserList
from pathlib import PurePosixPath

import pytest

from airflow_provider_leadmagic.bulk.rows import row_source
from airflow_provider_leadmagic.compat.imports import ObjectStoragePath

ROWS = [{"email": "jane@acme.example", "note": "a, b"}, {"email": "jörg@acme.example", "note": ""}]
CSV = 'email,note\njane@acme.example,"a, b"\njörg@acme.example,\n'
JSONL = "".join(f"{json.dumps(row)}\n" for row in ROWS)


class PathOfAnotherKind(PurePosixPath):
    pass


@pytest.fixture
def read(tmp_path):
    """Give a function that writes a file and reads the rows in it."""

    def read(content, name="leads.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return list(row_source(input_path=path))

    return read


@pytest.mark.parametrize("rows", [ROWS, tuple(ROWS), UserList(ROWS), json.dumps(ROWS)], ids=lambda rows: type(rows))
def test_rows_are_a_sequence_of_dicts_or_the_json_text_of_one(rows):
    assert list(row_source(rows=rows)) == ROWS


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (CSV, "leads.csv"),
        (CSV, "LEADS.CSV"),
        (CSV.replace("\n", "\r\n"), "leads.csv"),
        ("\ufeff" + CSV, "leads.csv"),
        (CSV.replace("\njörg", "\n\njörg"), "leads.csv"),
        (JSONL, "leads.jsonl"),
        (JSONL, "leads.ndjson"),
        ("\ufeff" + JSONL.replace("\n", "\n \n"), "leads.jsonl"),
        (JSONL.rstrip(), "leads.jsonl"),
    ],
)
def test_a_file_is_csv_or_jsonl_by_its_suffix(read, content, name):
    assert read(content, name) == ROWS


def test_a_cell_of_a_csv_file_may_hold_several_lines(read):
    assert read('email,note\na@b.example,"one\r\ntwo"\n') == [{"email": "a@b.example", "note": "one\r\ntwo"}]


def test_a_jsonl_file_keeps_its_types(read):
    row = {"email": "a@b.example", "id": 7, "tags": ["x"], "vip": True, "phone": None}
    assert read(json.dumps(row), "leads.jsonl") == [row]


@pytest.mark.parametrize(
    "kind",
    [str, PathOfAnotherKind, ObjectStoragePath, "file://{}".format],
    ids=["text", "a path object", "an ObjectStoragePath", "a URL"],
)
def test_a_local_path_may_be_of_any_kind(tmp_path, kind):
    path = tmp_path / "my leads.csv"
    path.write_text(CSV)
    assert list(row_source(input_path=kind(str(path)))) == ROWS


@pytest.mark.parametrize("kind", [str, ObjectStoragePath])
def test_a_file_may_lie_in_an_object_storage(storage, kind):
    storage.put_text("leads.csv", CSV)
    assert list(row_source(input_path=kind(f"{storage.url}/leads.csv"))) == ROWS


def test_each_iteration_reads_the_file_anew(tmp_path):
    path = tmp_path / "leads.csv"
    path.write_text(CSV)
    source = row_source(input_path=path)
    assert list(source) == ROWS
    path.write_text("email\na@b.example\n")
    assert list(source) == [{"email": "a@b.example"}]


def test_a_file_is_read_row_by_row(tmp_path):
    path = tmp_path / "leads.jsonl"
    path.write_text(f"{JSONL}this is no JSON\n")
    rows = iter(row_source(input_path=path))
    assert [next(rows), next(rows)] == ROWS
    with pytest.raises(ValueError, match="row 3"):
        next(rows)


def test_a_source_has_the_name_that_messages_call_it(tmp_path):
    assert row_source(rows=ROWS).name == "rows"
    assert row_source(input_path=tmp_path / "leads.csv").name == str(tmp_path / "leads.csv")


def test_the_token_of_a_link_is_in_no_name():
    assert "s3cret" not in row_source(input_path="/data/token=s3cret&x/leads.csv").name


@pytest.mark.parametrize(
    ("content", "name", "problem"),
    [
        ("", "leads.csv", "{path} is empty: it needs a line with the names of the columns, and rows"),
        ("email,email\n", "leads.csv", "the first line of {path} names the column 'email' twice"),
        ("email, \n", "leads.csv", "column 2 of {path} has no name in the first line"),
        ("a,b\n1,2\n\n1\n", "leads.csv", "row 2 of {path} has 1 cells, but there are 2 columns"),
        ("a,b\n1,2,3\n", "leads.csv", "row 1 of {path} has 3 cells, but there are 2 columns"),
        ('a,b\n1,"2\n', "leads.csv", "row 1 of {path} is not CSV: unexpected end of data (line 2)"),
        ('"a"x,b\n', "leads.csv", "the first line of {path} is not CSV: ',' expected after '\"' (line 1)"),
        (b"a,b\n1,2\nJ\xf6rg,2\n", "leads.csv", "line 3 of {path} is not UTF-8"),
        (b"a,b\n1,2\nJ\xc3", "leads.csv", "line 3 of {path} is not UTF-8"),
        ("a\n1\n".encode("utf-16"), "leads.csv", "line 1 of {path} is not UTF-8"),
        ("a,b\n1,\0\n", "leads.csv", "line 2 of {path} holds a NUL character"),
        ('{"a": 1}\n\n{"a": \n', "leads.jsonl", "row 2 of {path} (line 3) is not valid JSON"),
        pytest.param("[" * 100_000, "leads.jsonl", "row 1 of {path} (line 1) is not valid JSON", id="deep"),
        ('{"a": 1}\n["a"]\n', "leads.jsonl", "row 2 of {path} (line 2) is not a JSON object"),
        (b'{"a": "\xff"}\n', "leads.jsonl", "line 1 of {path} is not UTF-8"),
    ],
)
def test_a_file_that_holds_no_rows_is_refused_with_the_place(read, tmp_path, content, name, problem):
    with pytest.raises(ValueError, match=re.escape(problem.format(path=tmp_path / name))):
        read(content, name)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "give either rows or input_path; got none of them"),
        ({"rows": [], "input_path": "leads.csv"}, "give either rows or input_path; got both"),
        ({"rows": 7}, "rows must be a list of dicts, or the JSON text of one; got int"),
        ({"rows": {"email": "jane@acme.example"}}, "rows must be a list of dicts, or the JSON text of one; got dict"),
        ({"rows": b"[]"}, "rows must be a list of dicts, or the JSON text of one; got bytes"),
        ({"rows": iter(ROWS)}, "rows must be a list of dicts, or the JSON text of one; got list_iterator"),
        ({"rows": '{"email": "jane@acme.example"}'}, "rows must be a list of dicts, or the JSON text of one; got dict"),
        ({"rows": "[{'email': 'jane@acme.example'}]"}, "got text (str) that is not JSON: render it with the filter"),
        pytest.param({"rows": "[" * 100_000}, "got text (str) that is not JSON", id="deep"),
        ({"rows": [*ROWS, "jane@acme.example"]}, "row 3 of rows must be a dict; got str"),
        ({"input_path": " "}, "input_path must be a path or a URL; got ' '"),
        ({"input_path": "leads\0.csv"}, "input_path must be a path or a URL"),
        ({"input_path": 7}, "input_path must be a path or a URL; got 7"),
        ({"input_path": "leads.xlsx"}, "input_path must end in .csv, .jsonl, .ndjson to tell its format; got leads"),
        ({"input_path": "leads"}, "input_path must end in .csv, .jsonl, .ndjson to tell its format; got leads"),
        ({"input_path": "nowhere://leads.csv"}, "input_path nowhere://leads.csv cannot be used: "),
        ({"input_path": "absent.csv"}, "input_path absent.csv cannot be read: there is no such file or folder"),
    ],
)
def test_what_cannot_be_rows_is_refused_without_showing_a_lead(arguments, problem):
    with pytest.raises(ValueError, match=re.escape(problem)) as caught:
        list(row_source(**arguments))
    assert "jane" not in str(caught.value)


def test_an_object_that_does_not_exist_is_refused(storage):
    with pytest.raises(ValueError, match=r"leads\.csv cannot be read: there is no such file or folder"):
        list(row_source(input_path=f"{storage.url}/leads.csv"))


def test_a_folder_is_refused(tmp_path):
    (tmp_path / "leads.csv").mkdir()
    with pytest.raises(ValueError, match=r"leads\.csv cannot be read: it is a folder"):
        list(row_source(input_path=tmp_path / "leads.csv"))


def test_a_file_that_may_not_be_read_is_refused(shared_folder, without_privileges):
    path = shared_folder / "leads.csv"
    path.write_text(CSV)
    path.chmod(0)
    with without_privileges(), pytest.raises(ValueError, match=r"leads\.csv cannot be read: Permission denied"):
        list(row_source(input_path=path))
