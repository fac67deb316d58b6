"""Two files are written under other names and moved into place, or nothing changes at all."""

from __future__ import annotations

import csv
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


def names(folder):
    return sorted(path.name for path in folder.iterdir())


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
def test_rows_without_a_result_go_to_a_file_of_their_own(output_path, errors_path):
    files = ResultFiles(output_path)
    assert files.errors_path == errors_path
    assert files.output_path == errors_path.replace(".errors", "")


def test_csv_knows_only_text(tmp_path):
    values = ["a,b", "line\rend", None, True, 0.25, {"ö": [1]}, ["x"], ""]
    files = ResultFiles(tmp_path / "leads.csv")
    with files.replaced([f"c{number}" for number in range(8)], ["id"]) as (output, _):
        output.write(values)
    with (tmp_path / "leads.csv").open(newline="", encoding="utf-8") as file:
        _, cells = csv.reader(file, strict=True)
    assert cells == ["a,b", "line\rend", "", "true", "0.25", '{"ö": [1]}', '["x"]', ""]


def test_lines_of_csv_end_as_the_standard_has_it(tmp_path):
    write(ResultFiles(tmp_path / "leads.csv"), [[1, "x"]])
    assert (tmp_path / "leads.csv").read_bytes() == b"id,found\r\n1,x\r\n"


@pytest.mark.parametrize("suffix", ["jsonl", "ndjson"])
def test_jsonl_keeps_the_types(tmp_path, suffix):
    path = tmp_path / f"leads.{suffix}"
    write(ResultFiles(path), [[1, {"ö": [None, True]}], ["two\nlines", None]])
    lines = path.read_text(encoding="utf-8").splitlines()
    assert "ö" in lines[0]
    assert [json.loads(line) for line in lines] == [
        {"id": 1, "found": {"ö": [None, True]}},
        {"id": "two\nlines", "found": None},
    ]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_text_that_utf8_cannot_carry_does_not_stop_the_writing(tmp_path, suffix):
    path = tmp_path / f"leads.{suffix}"
    write(ResultFiles(path), [[1, "half: \ud83d"]])
    assert r"half: \ud83d" in path.read_text(encoding="utf-8")


def test_both_files_are_written_even_if_there_is_nothing_for_one(tmp_path):
    (tmp_path / "leads.errors.csv").write_text("of last night")
    write(ResultFiles(tmp_path / "leads.csv"), [[1, "x"]])
    assert (tmp_path / "leads.errors.csv").read_text() == "id,error\n"
    assert names(tmp_path) == ["leads.csv", "leads.errors.csv"]


def test_whoever_looks_meanwhile_sees_the_old_files_only(tmp_path):
    files = ResultFiles(tmp_path / "leads.csv")
    write(files, [["old", 1]])
    with files.replaced(*COLUMNS) as (output, _):
        output.write(["new", 2])
        assert "old" in (tmp_path / "leads.csv").read_text()
        assert all(name.startswith(".leads.") for name in names(tmp_path) if name.endswith(".part"))
    assert "old" not in (tmp_path / "leads.csv").read_text()


def test_nothing_changes_if_anything_fails(tmp_path):
    files = ResultFiles(tmp_path / "leads.csv")
    write(files, [["old", 1]], [["old", 2]])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(TypeError):
        write(files, [["new", 3]], [["new", 4], None])
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_results_are_moved_into_place_last(tmp_path):
    files = ResultFiles(tmp_path / "leads.csv")
    with pytest.raises(ValueError, match=r"leads\.errors\.csv cannot be written"), files.replaced(*COLUMNS):
        (tmp_path / "leads.errors.csv").mkdir()  # somebody is faster
    assert names(tmp_path) == ["leads.errors.csv"]


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    for name in ("leads.csv", "leads.errors.csv"):
        (draft := tmp_path / f".{name}.{uuid4().hex}.part").touch()
        os.utime(draft, (0, 0))
    write(ResultFiles(tmp_path / "leads.csv"))
    assert names(tmp_path) == ["leads.csv", "leads.errors.csv"]


def test_what_another_process_may_still_be_writing_is_left_alone(tmp_path):
    (draft := tmp_path / f".leads.csv.{uuid4().hex}.part").touch()
    write(ResultFiles(tmp_path / "leads.csv"))
    assert draft.exists()


@pytest.mark.parametrize("name", [".leads.csv.csv.{}.part", ".leads.csv.{}.part.csv", ".leads.csv.1.part"])
def test_what_is_of_somebody_else_is_left_alone(tmp_path, name):
    of_somebody_else = tmp_path / name.format(uuid4().hex)
    of_somebody_else.touch()
    write(ResultFiles(tmp_path / "leads.csv"))
    assert of_somebody_else.exists()


def test_a_name_with_a_pattern_in_it_is_only_a_name(tmp_path):
    of_somebody_else = tmp_path / f".leads1.csv.{uuid4().hex}.part"
    of_somebody_else.touch()
    write(ResultFiles(tmp_path / "leads[1].csv"))
    assert names(tmp_path) == [of_somebody_else.name, "leads[1].csv", "leads[1].errors.csv"]


def test_files_get_the_usual_permissions(tmp_path):
    before = os.umask(0o027)
    try:
        write(ResultFiles(tmp_path / "leads.csv"))
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o640}


def test_files_may_lie_in_an_object_storage(storage):
    files = ResultFiles(f"{storage.url}/out/leads.csv")
    for number in (1, 2):
        write(files, [[number, "x"]], [[number, "y"]])
        assert storage.texts() == {
            "out/leads.csv": f"id,found\r\n{number},x\r\n",
            "out/leads.errors.csv": f"id,error\r\n{number},y\r\n",
        }
    assert files.errors_path.endswith("/out/leads.errors.csv")


def test_checking_an_object_storage_leaves_nothing_behind(storage):
    ResultFiles(f"{storage.url}/out/leads.csv").check_writable()
    assert storage.texts() == {}


def test_nothing_changes_in_an_object_storage_if_anything_fails(storage):
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
        ("leads.xlsx", "output_path must end in .csv, .jsonl, .ndjson to tell its format; got leads.xlsx"),
        (".csv", "output_path must end in .csv, .jsonl, .ndjson to tell its format; got .csv"),
        ("/data/", "output_path must end in .csv, .jsonl, .ndjson to tell its format; got /data"),
        ("nowhere://out/leads.csv", "output_path nowhere://out/leads.csv cannot be used: "),
    ],
)
def test_what_cannot_be_an_output_is_refused(output_path, problem):
    with pytest.raises(ValueError, match=re.escape(problem)):
        ResultFiles(output_path)


def test_checking_leaves_nothing_behind_and_what_is_there_alone(tmp_path):
    (tmp_path / "leads.csv").write_text("of last night")
    ResultFiles(tmp_path / "leads.csv").check_writable()
    assert names(tmp_path) == ["leads.csv"]
    assert (tmp_path / "leads.csv").read_text() == "of last night"


def test_a_folder_that_does_not_exist_is_found_out(tmp_path):
    with pytest.raises(ValueError, match=r"absent/leads\.csv cannot be written: there is no such file or folder"):
        ResultFiles(tmp_path / "absent" / "leads.csv").check_writable()


@pytest.mark.parametrize("name", ["leads.csv", "leads.errors.csv"])
def test_a_folder_in_the_way_is_found_out(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=rf"output_path cannot be used, as .*{name} cannot be written: it is a folder"):
        ResultFiles(tmp_path / "leads.csv").check_writable()


def test_a_folder_that_may_not_be_written_to_is_found_out(shared_folder, without_privileges):
    shared_folder.chmod(0o555)
    with without_privileges(), pytest.raises(ValueError, match=r"leads\.csv cannot be written: Permission denied"):
        ResultFiles(shared_folder / "leads.csv").check_writable()


def test_a_name_that_gets_too_long_is_found_out(tmp_path):
    with pytest.raises(ValueError, match="cannot be written: File name too long"):
        ResultFiles(tmp_path / f"{'x' * 240}.csv").check_writable()


def test_a_storage_that_cannot_move_the_file_is_found_out(storage):
    with pytest.raises(ValueError, match="cannot be written"):
        ResultFiles(f"{storage.url}/leads[1].csv").check_writable()
    assert storage.texts() == {}


def test_a_folder_in_the_way_in_an_object_storage_is_found_out(storage):
    storage.put_text("leads.csv/other.csv", "")
    with pytest.raises(ValueError, match=r"leads\.csv cannot be written: it is a folder"):
        ResultFiles(f"{storage.url}/leads.csv").check_writable()


@pytest.mark.parametrize("input_name", ["leads.csv", "leads.errors.csv", "link.csv", "folder/../leads.csv"])
def test_the_input_is_never_overwritten(tmp_path, input_name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "leads.csv")
    source = row_source(input_path=tmp_path / input_name)
    with pytest.raises(ValueError, match=r"output_path must not lead to the input: .* would be overwritten"):
        ResultFiles(tmp_path / "leads.csv").check_writable(source)


def test_an_input_in_an_object_storage_is_never_overwritten(storage):
    source = row_source(input_path=f"{storage.url}/leads.csv")
    with pytest.raises(ValueError, match="output_path must not lead to the input"):
        ResultFiles(f"{storage.url}/leads.csv").check_writable(source)


@pytest.mark.parametrize("rows", [{"rows": [{"id": 1}]}, {"input_path": "leads.in.csv"}], ids=str)
def test_another_input_is_no_hindrance(tmp_path, rows):
    ResultFiles(tmp_path / "leads.csv").check_writable(row_source(**rows))
