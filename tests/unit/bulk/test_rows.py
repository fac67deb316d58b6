"""Rows are read from a list or a file, repeatedly and one at a time."""

from __future__ import annotations

import gzip
import json
import re
from collections import UserList
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath

import pytest

from airflow_provider_leadmagic.bulk.row_checks import RenamedRows
from airflow_provider_leadmagic.bulk.rows import row_source
from airflow_provider_leadmagic.compat.imports import ObjectStoragePath
from tests.support.numbers import NumpyFloat, NumpyInteger

ROWS = [{"email": "jane@acme.example", "note": "a, b"}, {"email": "jörg@acme.example", "note": ""}]
CSV = 'email,note\njane@acme.example,"a, b"\njörg@acme.example,\n'
JSONL = "".join(f"{json.dumps(row)}\n" for row in ROWS)


class CustomPath(PurePosixPath):
    pass


@pytest.fixture
def read(tmp_path):
    """Return a function that writes a file and reads its rows."""

    def read(content, name="leads.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return list(row_source(input_path=path))

    return read


@pytest.mark.parametrize("rows", [ROWS, tuple(ROWS), UserList(ROWS), json.dumps(ROWS)], ids=lambda rows: type(rows))
def test_rows_may_be_a_sequence_of_dicts_or_its_json_text(rows):
    assert list(row_source(rows=rows)) == ROWS


@pytest.mark.parametrize(
    ("number", "plain"),
    [
        (Decimal("7.00"), 7),
        (Decimal("0.25"), 0.25),
        (NumpyInteger(7), 7),
        (NumpyFloat(0.25), 0.25),
        (Fraction(1, 4), 0.25),
        ([{"score": Decimal(7)}], [{"score": 7}]),
        (True, True),
        ("7", "7"),
    ],
    ids=repr,
)
def test_numbers_of_other_types_become_numbers_of_json(number, plain):
    [row] = row_source(rows=[{"value": number}])
    assert repr(row) == repr({"value": plain})


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
def test_the_suffix_determines_the_format(read, content, name):
    assert read(content, name) == ROWS


TWO = [{"email": "a@x.example", "note": "one, two"}, {"email": "b@x.example", "note": ""}]
VARIANTS = {
    "semicolons": "email;note\na@x.example;one, two\nb@x.example;\n",
    "tabs": "email\tnote\na@x.example\tone, two\nb@x.example\t\n",
    "vertical bars": "email|note\na@x.example|one, two\nb@x.example|\n",
    "a line for Excel": "sep=;\r\nemail;note\r\na@x.example;one, two\r\nb@x.example;\r\n",
    "a quoted line for Excel": '"sep=\t"\nemail\tnote\na@x.example\tone, two\nb@x.example\t\n',
    "other delimiters in quotes": '"email";"note"\n"a@x.example";"one, two"\n"b@x.example";""\n',
    "blanks after commas": 'email, note\na@x.example, "one, two"\nb@x.example, \n',
    "blanks around names": ' email ,note \na@x.example,"one, two"\nb@x.example,\n',
    "rows of only commas": ',,\nemail,note,\n,,\na@x.example,"one, two",\n , ,\nb@x.example,,\n,,\n\n',
    "two files joined": '\ufeffemail,note\na@x.example,"one, two"\n\ufeffemail,note\nb@x.example,\n',
    "two files joined without a BOM": 'email,note\na@x.example,"one, two"\nemail,note\nb@x.example,\n',
    "two BOMs": '\ufeff\ufeffemail,note\na@x.example,"one, two"\nb@x.example,\n',
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_csv_files_of_other_programs_are_read(read, variant):
    assert read(VARIANTS[variant]) == TWO


def test_values_keep_their_blanks_unless_the_header_has_them_after_each_comma(read):
    assert read("email,note\na@x.example, one\n") == [{"email": "a@x.example", "note": " one"}]


def test_the_delimiter_can_be_stated(tmp_path):
    path = tmp_path / "leads.csv"
    path.write_text("email;a,b\na@x.example;one\n")
    assert list(row_source(input_path=path, delimiter=";")) == [{"email": "a@x.example", "a,b": "one"}]


def test_a_cell_may_be_longer_than_the_limit_of_python(read):
    note = "x" * 200_000
    assert read(f"email,note\na@x.example,{note}\n") == [{"email": "a@x.example", "note": note}]


@pytest.mark.parametrize(("name", "content"), [("leads.csv.gz", CSV), ("leads.JSONL.GZ", JSONL)])
def test_a_file_may_be_compressed(read, name, content):
    assert read(gzip.compress(content.encode()), name) == ROWS


def test_a_compressed_file_may_be_in_an_object_storage(storage):
    storage.pipe_file("/bucket/leads.csv.gz", gzip.compress(CSV.encode()))
    assert list(row_source(input_path=f"{storage.url}/leads.csv.gz")) == ROWS


def test_joined_jsonl_files_are_read(read):
    assert read(f"\ufeff{JSONL}\ufeff{JSONL}", "leads.jsonl") == ROWS * 2


def test_a_csv_cell_may_contain_line_breaks(read):
    assert read('email,note\na@b.example,"one\r\ntwo"\n') == [{"email": "a@b.example", "note": "one\r\ntwo"}]


def test_values_of_a_jsonl_file_keep_their_types(read):
    row = {"email": "a@b.example", "id": 7, "tags": ["x"], "vip": True, "phone": None}
    assert read(json.dumps(row), "leads.jsonl") == [row]


@pytest.mark.parametrize(
    "kind",
    [str, CustomPath, ObjectStoragePath, "file://{}".format],
    ids=["text", "a path object", "an ObjectStoragePath", "a URL"],
)
def test_a_local_path_may_have_any_type(tmp_path, kind):
    path = tmp_path / "my leads.csv"
    path.write_text(CSV)
    assert list(row_source(input_path=kind(str(path)))) == ROWS


@pytest.mark.parametrize("kind", [str, ObjectStoragePath])
def test_a_file_may_be_in_an_object_storage(storage, kind):
    storage.put_text("leads.csv", CSV)
    assert list(row_source(input_path=kind(f"{storage.url}/leads.csv"))) == ROWS


def test_each_iteration_reads_the_file_again(tmp_path):
    path = tmp_path / "leads.csv"
    path.write_text(CSV)
    source = row_source(input_path=path)
    assert list(source) == ROWS
    path.write_text("email\na@b.example\n")
    assert list(source) == [{"email": "a@b.example"}]


def test_a_file_is_read_row_by_row(tmp_path):
    path = tmp_path / "leads.jsonl"
    path.write_text(f"{JSONL}this is not JSON\n")
    rows = iter(row_source(input_path=path))
    assert [next(rows), next(rows)] == ROWS
    with pytest.raises(ValueError, match=r"^Row 3 \(line 3\) is not valid JSON\. \["):
        next(rows)


def test_the_name_of_a_source_is_the_argument_or_the_path(tmp_path):
    assert row_source(rows=ROWS).name == "rows"
    assert row_source(input_path=tmp_path / "leads.csv").name == str(tmp_path / "leads.csv")


def test_the_name_of_a_source_contains_no_token():
    assert "s3cret" not in row_source(input_path="/data/token=s3cret&x/leads.csv").name


@pytest.mark.parametrize(
    ("content", "name", "problem"),
    [
        ("", "leads.csv", "The file is empty: it must have a line of column names, and rows."),
        ("email,email\n", "leads.csv", "Column 'email' appears twice in the header."),
        ("email,,note\n", "leads.csv", "Column 2 has no name in the header."),
        ("email,note,,\na,b,,c\n", "leads.csv", "Row 1 must have 2 cells, like the header; got 4."),
        ('"full_name,domain"\n', "leads.csv", "The first line has one column: is the file separated by commas?"),
        ('"full_name;domain"\n', "leads.csv", "The first line has one column: is the file separated by semicolons?"),
        (" \n;;\n", "leads.csv", "The file is empty: it must have a line of column names, and rows."),
        ("sep=;\n", "leads.csv", "The file is empty: it must have a line of column names, and rows."),
        ('sep=;\n\na;b\n"1;2\n', "leads.csv", "Row 1 is not valid CSV: unexpected end of data (line 4)."),
        (
            CSV.encode(),
            "leads.csv.gz",
            "Cannot read input_path: the file is not a complete gzip file.",
        ),
        (
            gzip.compress(CSV.encode(), mtime=0)[:-12],
            "leads.csv.gz",
            "Cannot read input_path: the file is not a complete gzip file.",
        ),
        ("a,b\n1,2\n\n1\n", "leads.csv", "Row 2 must have 2 cells, like the header; got 1."),
        ("a,b\n1,2,3\n", "leads.csv", "Row 1 must have 2 cells, like the header; got 3."),
        ('a,b\n1,"2\n', "leads.csv", "Row 1 is not valid CSV: unexpected end of data (line 2)."),
        ('"a"x,b\n', "leads.csv", "The header is not valid CSV: ',' expected after '\"' (line 1)."),
        (b"a,b\n1,2\nJ\xf6rg,2\n", "leads.csv", "Line 3 is not UTF-8: save the file in UTF-8."),
        (b"a,b\n1,2\nJ\xc3", "leads.csv", "Line 3 is not UTF-8: save the file in UTF-8."),
        ("a\n1\n".encode("utf-16"), "leads.csv", "Line 1 is not UTF-8: save the file in UTF-8."),
        ("a,b\n1,\0\n", "leads.csv", "Line 2 contains a NUL character: the file is not plain text."),
        ('{"a": 1}\n\n{"a": \n', "leads.jsonl", "Row 2 (line 3) is not valid JSON."),
        pytest.param("[" * 100_000, "leads.jsonl", "Row 1 (line 1) is not valid JSON.", id="deep"),
        ('{"a": 1}\n["a"]\n', "leads.jsonl", "Row 2 (line 2) is not a JSON object."),
        (b'{"a": "\xff"}\n', "leads.jsonl", "Line 1 is not UTF-8: save the file in UTF-8."),
    ],
)
def test_a_malformed_file_is_rejected_with_row_and_path(read, tmp_path, content, name, problem):
    with pytest.raises(ValueError, match=f"^{re.escape(f'{problem} [{tmp_path / name}]')}$"):
        read(content, name)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "Exactly one of rows and input_path must be given; got neither"),
        ({"rows": [], "input_path": "leads.csv"}, "Exactly one of rows and input_path must be given; got both"),
        ({"rows": 7}, "rows must be a list of dicts, or JSON text of such a list; got int"),
        (
            {"rows": {"email": "jane@acme.example"}},
            "rows must be a list of dicts, or JSON text of such a list; got dict",
        ),
        ({"rows": b"[]"}, "rows must be a list of dicts, or JSON text of such a list; got bytes"),
        ({"rows": iter(ROWS)}, "rows must be a list of dicts, or JSON text of such a list; got list_iterator"),
        (
            {"rows": '{"email": "jane@acme.example"}'},
            "rows must be a list of dicts, or JSON text of such a list; got dict",
        ),
        ({"rows": "[{'email': 'jane@acme.example'}]"}, "got text (str) that is not JSON. Render it with the filter"),
        pytest.param({"rows": "[" * 100_000}, "got text (str) that is not JSON", id="deep"),
        ({"rows": [*ROWS, "jane@acme.example"]}, "Row 3 must be a dict; got str. [rows]"),
        ({"input_path": " "}, "input_path must be a path or a URL; got ' '"),
        ({"input_path": "leads\0.csv"}, "input_path must be a path or a URL"),
        ({"input_path": 7}, "input_path must be a path or a URL; got 7"),
        ({"input_path": "leads.xlsx"}, "input_path must end in .csv, .jsonl, .ndjson, also with .gz; got leads"),
        ({"input_path": "leads"}, "input_path must end in .csv, .jsonl, .ndjson, also with .gz; got leads"),
        ({"input_path": "leads.gz"}, "input_path must end in .csv, .jsonl, .ndjson, also with .gz; got leads"),
        (
            {"input_path": "nowhere://leads.csv"},
            "Cannot use input_path: *nowhere*. [nowhere://leads.csv]",
        ),
        ({"input_path": "absent.csv"}, "Cannot read input_path: no such file or directory. [absent.csv]"),
    ],
)
def test_invalid_arguments_are_rejected_without_revealing_a_lead(arguments, problem):
    with pytest.raises(ValueError, match=re.escape(problem).replace(r"\*", ".*")) as caught:
        list(row_source(**arguments))
    assert "jane" not in str(caught.value)


def test_a_missing_object_is_rejected(storage):
    with pytest.raises(
        ValueError, match=r"^Cannot read input_path: no such file or directory\. \[memory://.*leads\.csv\]$"
    ):
        list(row_source(input_path=f"{storage.url}/leads.csv"))


def test_a_directory_is_rejected(tmp_path):
    (tmp_path / "leads.csv").mkdir()
    with pytest.raises(ValueError, match=r"^Cannot read input_path: is a directory\. \[.*leads\.csv\]$"):
        list(row_source(input_path=tmp_path / "leads.csv"))


def test_an_unreadable_file_is_rejected(shared_directory, without_privileges):
    path = shared_directory / "leads.csv"
    path.write_text(CSV)
    path.chmod(0)
    with without_privileges(), pytest.raises(ValueError, match=r"^Cannot read input_path: Permission denied\. \["):
        list(row_source(input_path=path))


@pytest.mark.parametrize(
    ("row", "mapping", "sent"),
    [
        ({"id": 7, "Email": "a"}, None, {"id": 7, "email": "a"}),
        ({"ID": 7, "EMAIL": "a"}, {}, {"ID": 7, "email": "a"}),
        ({"email": "a", "Email": "b"}, None, {"email": "a", "Email": "b"}),
        ({"Email": "a", "Work email": "b"}, {"Work email": "email"}, {"Email": "a", "email": "b"}),
        ({"Email": "a", "email": "b"}, {"Email": "email", "email": "old_email"}, {"email": "a", "old_email": "b"}),
    ],
)
def test_columns_get_the_names_of_leadmagic_and_can_be_named_back(row, mapping, sent):
    rows = RenamedRows(row_source(rows=[row, row]), mapping, {"email"})
    assert list(rows) == [sent, sent]
    assert [list(row) for row in rows] == [list(sent)] * 2
    assert {rows.user_names(rows)[name]: value for name, value in sent.items()} == row


def test_two_columns_that_differ_only_in_case_are_ambiguous():
    rows = RenamedRows(row_source(rows=[{"Email": "a"}, {"Email": "a", "EMAIL": "b"}]), None, {"email"})
    problem = r"^Columns 'Email' and 'EMAIL' would both be sent as 'email' in row 2: rename one, or use column_mapping"
    with pytest.raises(ValueError, match=problem):
        list(rows)
