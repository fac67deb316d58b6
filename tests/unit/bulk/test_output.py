"""Both files are written under temporary names and renamed when complete; after an error nothing has changed."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import stat
from pathlib import Path
from uuid import uuid4

import pytest

from airflow_provider_leadmagic.bulk.output import ResultFiles
from airflow_provider_leadmagic.bulk.rows import row_source

COLUMNS = (["id", "found"], ["id", "error"])


def write(files, rows=(), errors=()):
    with files.replaced(*COLUMNS) as writers:
        for writer, lines in zip(writers, (rows, errors), strict=True):
            for line in lines:
                writer.write(line)


def names(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize(
    ("output_path", "errors_path"),
    [
        ("/data/leads.csv", "/data/leads.errors.csv"),
        ("leads.2026.jsonl", "leads.2026.errors.jsonl"),
        ("/data/LEADS.CSV", "/data/LEADS.errors.CSV"),
        ("file:///data/leads.ndjson", "/data/leads.errors.ndjson"),
        (Path("/data/leads.csv"), "/data/leads.errors.csv"),
    ],
)
def test_the_error_file_is_beside_the_output_file(output_path, errors_path):
    files = ResultFiles(output_path)
    assert files.errors_path == errors_path
    assert files.output_path == errors_path.replace(".errors", "")


def test_csv_values_are_written_as_text(tmp_path):
    values = ["a,b", "line\rend", None, True, 0.25, {"ö": [1]}, ["x"], ""]
    files = ResultFiles(tmp_path / "leads.csv")
    with files.replaced([f"c{number}" for number in range(8)], ["id"]) as (output, _):
        output.write(values)
    with (tmp_path / "leads.csv").open(newline="", encoding="utf-8") as file:
        _, cells = csv.reader(file, strict=True)
    assert cells == ["a,b", "line\rend", "", "true", "0.25", '{"ö": [1]}', '["x"]', ""]


def test_csv_lines_end_with_crlf(tmp_path):
    write(ResultFiles(tmp_path / "leads.csv"), [[1, "x"]])
    assert (tmp_path / "leads.csv").read_bytes() == b"id,found\r\n1,x\r\n"


@pytest.mark.parametrize("suffix", ["jsonl", "ndjson"])
def test_jsonl_values_keep_their_types(tmp_path, suffix):
    path = tmp_path / f"leads.{suffix}"
    write(ResultFiles(path), [[1, {"ö": [None, True]}], ["two\nlines", None]])
    lines = path.read_text(encoding="utf-8").splitlines()
    assert "ö" in lines[0]
    assert [json.loads(line) for line in lines] == [
        {"id": 1, "found": {"ö": [None, True]}},
        {"id": "two\nlines", "found": None},
    ]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_text_that_is_not_valid_in_utf8_is_escaped(tmp_path, suffix):
    path = tmp_path / f"leads.{suffix}"
    write(ResultFiles(path), [[1, "half: \ud83d"]])
    assert r"half: \ud83d" in path.read_text(encoding="utf-8")


def test_both_files_are_written_even_if_one_has_no_rows(tmp_path):
    (tmp_path / "leads.errors.csv").write_text("of last night")
    write(ResultFiles(tmp_path / "leads.csv"), [[1, "x"]])
    assert (tmp_path / "leads.errors.csv").read_text() == "id,error\n"
    assert names(tmp_path) == ["leads.csv", "leads.errors.csv"]


def test_readers_see_the_old_files_until_the_end(tmp_path):
    files = ResultFiles(tmp_path / "leads.csv")
    write(files, [["old", 1]])
    with files.replaced(*COLUMNS) as (output, _):
        output.write(["new", 2])
        assert "old" in (tmp_path / "leads.csv").read_text()
        assert all(name.startswith(".leads.") for name in names(tmp_path) if name.endswith(".part"))
    assert "old" not in (tmp_path / "leads.csv").read_text()


def test_an_error_leaves_the_files_unchanged(tmp_path):
    files = ResultFiles(tmp_path / "leads.csv")
    write(files, [["old", 1]], [["old", 2]])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(TypeError):
        write(files, [["new", 3]], [["new", 4], None])
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_output_file_is_renamed_last(tmp_path):
    files = ResultFiles(tmp_path / "leads.csv")
    with (
        pytest.raises(ValueError, match=r"^Cannot write output_path: is a directory\. \[.*leads\.errors\.csv\]$"),
        files.replaced(*COLUMNS),
    ):
        (tmp_path / "leads.errors.csv").mkdir()  # created by another process in the meantime
    assert names(tmp_path) == ["leads.errors.csv"]


def test_drafts_of_killed_processes_are_removed(tmp_path):
    for name in ("leads.csv", "leads.errors.csv"):
        (draft := tmp_path / f".{name}.{uuid4().hex}.part").touch()
        os.utime(draft, (0, 0))
    write(ResultFiles(tmp_path / "leads.csv"))
    assert names(tmp_path) == ["leads.csv", "leads.errors.csv"]


def test_recent_drafts_are_kept(tmp_path):
    (draft := tmp_path / f".leads.csv.{uuid4().hex}.part").touch()
    write(ResultFiles(tmp_path / "leads.csv"))
    assert draft.exists()


@pytest.mark.parametrize("name", [".leads.csv.csv.{}.part", ".leads.csv.{}.part.csv", ".leads.csv.1.part"])
def test_other_files_are_kept(tmp_path, name):
    other_file = tmp_path / name.format(uuid4().hex)
    other_file.touch()
    write(ResultFiles(tmp_path / "leads.csv"))
    assert other_file.exists()


def test_special_characters_in_a_name_are_not_a_pattern(tmp_path):
    other_file = tmp_path / f".leads1.csv.{uuid4().hex}.part"
    other_file.touch()
    write(ResultFiles(tmp_path / "leads[1].csv"))
    assert names(tmp_path) == [other_file.name, "leads[1].csv", "leads[1].errors.csv"]


def test_files_have_default_permissions(tmp_path):
    before = os.umask(0o027)
    try:
        write(ResultFiles(tmp_path / "leads.csv"))
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o640}


def test_files_may_be_in_an_object_storage(storage):
    files = ResultFiles(f"{storage.url}/out/leads.csv")
    for number in (1, 2):
        write(files, [[number, "x"]], [[number, "y"]])
        assert storage.texts() == {
            "out/leads.csv": f"id,found\r\n{number},x\r\n",
            "out/leads.errors.csv": f"id,error\r\n{number},y\r\n",
        }
    assert files.errors_path.endswith("/out/leads.errors.csv")


def test_checking_an_object_storage_leaves_no_objects(storage):
    ResultFiles(f"{storage.url}/out/leads.csv").check_writable()
    assert storage.texts() == {}


def test_an_error_leaves_an_object_storage_unchanged(storage):
    files = ResultFiles(f"{storage.url}/leads.csv")
    write(files, [["old", 1]])
    before = storage.texts()
    with pytest.raises(KeyboardInterrupt), files.replaced(*COLUMNS):
        raise KeyboardInterrupt
    assert storage.texts() == before


@pytest.mark.parametrize(
    ("output_path", "problem"),
    [
        (None, "output_path must be a path or a URL; got None"),
        ("", "output_path must be a path or a URL; got ''"),
        ("leads.xlsx", "output_path must end in .csv, .jsonl, .ndjson; got leads.xlsx"),
        (".csv", "output_path must end in .csv, .jsonl, .ndjson; got .csv"),
        ("/data/", "output_path must end in .csv, .jsonl, .ndjson; got /data"),
        ("nowhere://out/leads.csv", "Cannot use output_path: *nowhere*. [nowhere://out/leads.csv]"),
    ],
)
def test_an_invalid_output_path_is_rejected(output_path, problem):
    with pytest.raises(ValueError, match=re.escape(problem).replace(r"\*", ".*")):
        ResultFiles(output_path)


def test_checking_leaves_no_files_and_keeps_existing_ones(tmp_path):
    (tmp_path / "leads.csv").write_text("of last night")
    ResultFiles(tmp_path / "leads.csv").check_writable()
    assert names(tmp_path) == ["leads.csv"]
    assert (tmp_path / "leads.csv").read_text() == "of last night"


def test_a_missing_directory_is_detected(tmp_path):
    with pytest.raises(
        ValueError, match=r"^Cannot write output_path: no such file or directory\. \[.*absent/leads\.csv\]$"
    ):
        ResultFiles(tmp_path / "absent" / "leads.csv").check_writable()


@pytest.mark.parametrize("name", ["leads.csv", "leads.errors.csv"])
def test_a_directory_of_that_name_is_detected(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=rf"^Cannot write output_path: is a directory\. \[.*{name}\]$"):
        ResultFiles(tmp_path / "leads.csv").check_writable()


def test_a_read_only_directory_is_detected(shared_directory, without_privileges):
    shared_directory.chmod(0o555)
    with (
        without_privileges(),
        pytest.raises(ValueError, match=r"^Cannot write output_path: Permission denied\. \[.*leads\.csv\]$"),
    ):
        ResultFiles(shared_directory / "leads.csv").check_writable()


def test_a_name_that_is_too_long_is_detected(tmp_path):
    with pytest.raises(ValueError, match=r"^Cannot write output_path: File name too long\. \["):
        ResultFiles(tmp_path / f"{'x' * 240}.csv").check_writable()


def test_a_storage_that_cannot_rename_the_file_is_detected(storage):
    with pytest.raises(ValueError, match=r"^Cannot write output_path: .* \[.*leads\[1\]\.csv\]$"):
        ResultFiles(f"{storage.url}/leads[1].csv").check_writable()
    assert storage.texts() == {}


def test_a_prefix_of_that_name_in_an_object_storage_is_detected(storage):
    storage.put_text("leads.csv/other.csv", "")
    with pytest.raises(ValueError, match=r"^Cannot write output_path: is a directory\. \[.*leads\.csv\]$"):
        ResultFiles(f"{storage.url}/leads.csv").check_writable()


@pytest.mark.parametrize("input_name", ["leads.csv", "leads.errors.csv", "link.csv", "directory/../leads.csv"])
def test_the_input_file_is_never_overwritten(tmp_path, input_name):
    (tmp_path / "directory").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "leads.csv")
    source = row_source(input_path=tmp_path / input_name)
    with pytest.raises(ValueError, match=r"^output_path must not overwrite the input file; got .*leads\."):
        ResultFiles(tmp_path / "leads.csv").check_writable(source)


def test_an_input_file_in_an_object_storage_is_never_overwritten(storage):
    source = row_source(input_path=f"{storage.url}/leads.csv")
    with pytest.raises(ValueError, match=r"^output_path must not overwrite the input file; got memory://"):
        ResultFiles(f"{storage.url}/leads.csv").check_writable(source)


@pytest.mark.parametrize("rows", [{"rows": [{"id": 1}]}, {"input_path": "leads.in.csv"}], ids=str)
def test_any_other_input_is_accepted(tmp_path, rows):
    ResultFiles(tmp_path / "leads.csv").check_writable(row_source(**rows))


FORMULAS = [
    '=HYPERLINK("https://x.example";"mail")',
    "=1+1",
    "@SUM(A1)",
    "+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "- built the team",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "\uff1d1+1",
    "\uff0bA1",
]
TEXTS = [
    "+4912345",
    "+49 (0)30 123-45/6",
    "-5",
    "-0.5e-3",
    "+1.25%",
    "-",
    "'=1+1",
    "a=b",
    "jane@acme.example",
    "",
    " =1",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_in_a_column_of_leadmagic_is_written_as_text_to_csv(tmp_path, text):
    assert written(tmp_path / "out.csv", text) == [text, f"'{text}"]


@pytest.mark.parametrize("text", TEXTS)
def test_numbers_and_other_texts_are_written_as_they_are(tmp_path, text):
    assert written(tmp_path / "out.csv", text) == [text, text]


@pytest.mark.parametrize(("name", "options"), [("out.jsonl", {}), ("out.csv", {"escape_formulas": False})])
@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_written_as_it_is_to_jsonl_or_without_escape_formulas(tmp_path, name, options, text):
    assert written(tmp_path / name, text, **options) == [text, text]


def written(path, text, **options):
    """Write a text into a column of the input and into one of LeadMagic, and read both."""
    with ResultFiles(str(path), **options).replaced(["title", "lm_title"], ["id"]) as (output, _):
        output.write([text, text])
    content = path.read_bytes().decode()
    if path.suffix == ".jsonl":
        return list(json.loads(content).values())
    [_, row] = csv.reader(io.StringIO(content, newline=""))
    return row


def test_leadmagics_reason_for_a_failed_row_is_escaped_too(tmp_path):
    path = tmp_path / "out.csv"
    with ResultFiles(str(path)).replaced(["id"], ["id", "lm_error_message"]) as (_, errors):
        errors.write(["=1", "=1 is not a domain"])
    assert path.with_name("out.errors.csv").read_text().splitlines()[1] == "=1,'=1 is not a domain"
