"""Both files are written under temporary names and renamed when complete; after an error nothing has changed."""

from __future__ import annotations

import csv
import errno
import fcntl
import io
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

from airflow_provider_leadmagic.api.bulk import body_with_list
from airflow_provider_leadmagic.api.text import TemporaryFileError
from airflow_provider_leadmagic.bulk import drafts
from airflow_provider_leadmagic.bulk.output import ResultFiles
from airflow_provider_leadmagic.bulk.result_rows import RowResult
from airflow_provider_leadmagic.bulk.rows import row_source
from airflow_provider_leadmagic.bulk.sorting import ResultSorter
from airflow_provider_leadmagic.bulk.storage import storage_errors_as
from tests.unit.bulk.conftest import Storage, attach

JOB = "6ad7e1f0-6a39-4a6e-9bb7-6b1e2b8f9a55"
COLUMNS = (["id", "found"], ["id", "error"], JOB)


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
def test_the_error_file_is_next_to_the_output_file(output_path, errors_path):
    files = ResultFiles(output_path)
    assert files.errors_path == errors_path
    assert files.output_path == errors_path.replace(".errors", "")


def test_csv_values_are_written_as_text(tmp_path):
    values = ["a,b", "line\rend", None, True, 0.25, {"ö": [1]}, ["x"], ""]
    files = ResultFiles(tmp_path / "leads.csv")
    with files.replaced([f"c{number}" for number in range(8)], ["id"], JOB) as (output, _):
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


@pytest.mark.parametrize(
    ("pinned", "where", "subject"),
    [
        ("leads.csv", ["output", "leads.{}.csv"], "output_path"),
        ("leads.errors.csv", ["errors", "leads.errors.{}.csv"], "the error file"),
    ],
)
def test_if_a_file_can_no_longer_be_replaced_a_new_one_is_written_next_to_it(tmp_path, pinned, where, subject, logged):
    files = ResultFiles(tmp_path / "leads.csv")
    with files.replaced(*COLUMNS) as (output, errors):
        output.write([1, "x"])
        errors.write([2, "y"])
        (tmp_path / pinned).mkdir()  # created by another process in the meantime
    kind, beside = where[0], where[1].format(JOB)
    expected = {"output": "leads.csv", "errors": "leads.errors.csv", kind: beside}
    assert files.output_path == str(tmp_path / expected["output"])
    assert files.errors_path == str(tmp_path / expected["errors"])
    assert Path(files.output_path).read_bytes() == b"id,found\r\n1,x\r\n"
    assert Path(files.errors_path).read_bytes() == b"id,error\r\n2,y\r\n"
    assert names(tmp_path) == sorted([pinned, *set(expected.values())])
    problem = f"Cannot replace {subject}: is a directory. Writing rows of bulk job {JOB} to a new file."
    assert f"{problem} [{tmp_path / beside}]" in logged()


def test_an_odd_job_id_leads_to_no_other_directory(tmp_path):
    files = ResultFiles(tmp_path / "leads.csv")
    with files.replaced(["id"], ["id"], "../../x"):
        (tmp_path / "leads.csv").mkdir()
    assert files.output_path == str(tmp_path / "leads.______x.csv")


def test_an_error_of_temporary_files_is_not_reported_as_one_of_the_output():
    problem = "Cannot write temporary files: the disk is full."
    with pytest.raises(TemporaryFileError, match=f"^{problem}"), storage_errors_as("Cannot write output_path", "x.csv"):
        raise TemporaryFileError(problem)


def test_the_error_of_a_paid_job_names_it(tmp_path):
    (tmp_path / "out").mkdir()
    files = ResultFiles(tmp_path / "out" / "leads.csv")
    paid = f"The rows of bulk job {JOB} have been paid for, and reading them again is free."
    problem = rf"^Cannot write output_path: no such file or directory. {paid} \[.*leads\.errors\.csv\]$"
    with pytest.raises(ValueError, match=problem), files.replaced(*COLUMNS):
        shutil.rmtree(tmp_path / "out")


@pytest.fixture
def killed(tmp_path):
    """Kill a process while it writes the files, and return the names of the drafts that it left."""
    script = f"""
import os, signal
from airflow_provider_leadmagic.bulk.output import ResultFiles
with ResultFiles({str(tmp_path / "other.jsonl")!r}).replaced(["id"], ["id"], "job") as (output, _):
    output.write(["a@b.example"])
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -signal.SIGKILL
    drafts = names(tmp_path)
    assert [name.endswith(".part") for name in drafts] == [True, True]
    return drafts


@pytest.mark.parametrize("attempt", [write, ResultFiles.check_writable])
def test_drafts_of_a_killed_process_are_removed_by_any_run_with_output_in_the_directory(tmp_path, killed, attempt):
    attempt(ResultFiles(tmp_path / "leads.csv"))
    assert set(names(tmp_path)).isdisjoint(killed)


def test_drafts_that_are_being_written_are_kept(tmp_path):
    files = ResultFiles(tmp_path / "leads.csv")
    with files.replaced(*COLUMNS) as (output, _):
        for draft in tmp_path.iterdir():
            os.utime(draft, (0, 0))
        write(ResultFiles(tmp_path / "other.csv"))
        ResultFiles(tmp_path / "leads.csv").check_writable()
        output.write([1, "x"])
    assert (tmp_path / "leads.csv").read_bytes() == b"id,found\r\n1,x\r\n"


@pytest.mark.parametrize(("age", "kept"), [(23 * 3600, True), (25 * 3600, False)])
def test_on_file_systems_without_locks_the_age_of_a_draft_counts(tmp_path, monkeypatch, age, kept):
    (draft := tmp_path / f".leads.csv.{uuid4().hex}.part").touch()
    os.utime(draft, (time.time() - age,) * 2)
    no_locks = OSError(errno.ENOLCK, "No locks available")
    monkeypatch.setattr("fcntl.flock", lambda *_: (_ for _ in ()).throw(no_locks))
    write(ResultFiles(tmp_path / "other.csv"))
    assert draft.exists() is kept


def test_a_draft_that_is_removed_before_it_is_locked_is_created_again(tmp_path, monkeypatch):
    flock, removed = fcntl.flock, []

    def remove_first(descriptor, operation):
        if not removed:
            removed.extend(path.rename(tmp_path / "x") or path for path in tmp_path.glob(".*.part"))
            (tmp_path / "x").unlink()
        return flock(descriptor, operation)

    monkeypatch.setattr("fcntl.flock", remove_first)
    write(ResultFiles(tmp_path / "leads.csv"), [[1, "x"]])
    assert len(removed) == 1
    assert (tmp_path / "leads.csv").read_bytes() == b"id,found\r\n1,x\r\n"


@pytest.mark.parametrize("name", [".leads.csv.{}.part.csv", ".leads.csv.1.part", "leads.csv.{}.part", ".x.txt.{}.part"])
def test_other_files_are_kept(tmp_path, name):
    other_file = tmp_path / name.format(uuid4().hex)
    other_file.touch()
    os.utime(other_file, (0, 0))
    write(ResultFiles(tmp_path / "leads.csv"))
    assert other_file.exists()


def test_links_and_pipes_with_the_name_of_a_draft_are_kept(tmp_path):
    (target := tmp_path / "target").touch()
    (link := tmp_path / f".leads.csv.{uuid4().hex}.part").symlink_to(target)
    os.mkfifo(pipe := tmp_path / f".leads.csv.{uuid4().hex}.part")
    write(ResultFiles(tmp_path / "leads.csv"))
    assert link.is_symlink()
    assert pipe.exists()


def test_files_have_default_permissions(tmp_path):
    before = os.umask(0o027)
    try:
        write(ResultFiles(tmp_path / "leads.csv"))
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o640}


def test_files_that_were_made_private_stay_private(tmp_path):
    for name in ("leads.csv", "leads.errors.csv"):
        (tmp_path / name).touch(mode=0o600)
    files = ResultFiles(tmp_path / "leads.csv")
    with files.replaced(*COLUMNS):
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_a_new_error_file_is_as_private_as_the_output_file(tmp_path):
    (tmp_path / "leads.csv").touch(mode=0o640)
    write(ResultFiles(tmp_path / "leads.csv"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o640}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other users")
def test_files_keep_their_owner(tmp_path):
    (tmp_path / "leads.csv").touch(mode=0o600)
    os.chown(tmp_path / "leads.csv", 65534, 65534)
    write(ResultFiles(tmp_path / "leads.csv"))
    assert {(path.stat().st_uid, path.stat().st_gid) for path in tmp_path.iterdir()} == {(65534, 65534)}


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_leads_to_the_results(tmp_path, exists):
    (tmp_path / "links").mkdir()
    (link := tmp_path / "links" / "leads.csv").symlink_to("../real.csv")
    if exists:
        (tmp_path / "real.csv").write_text("of last night")
    files = ResultFiles(link)
    files.check_writable()
    write(files, [[1, "x"]])
    assert link.is_symlink()
    assert (tmp_path / "real.csv").read_bytes() == b"id,found\r\n1,x\r\n"
    assert names(tmp_path) == ["links", "real.csv"]
    assert names(tmp_path / "links") == ["leads.csv", "leads.errors.csv"]


def test_files_may_be_in_an_object_storage(storage):
    files = ResultFiles(f"{storage.url}/out/leads.csv")
    for number in (1, 2):
        write(files, [[number, "x"]], [[number, "y"]])
        assert storage.texts() == {
            "out/leads.csv": f"id,found\r\n{number},x\r\n",
            "out/leads.errors.csv": f"id,error\r\n{number},y\r\n",
        }
    assert files.errors_path.endswith("/out/leads.errors.csv")


@pytest.mark.parametrize("name", ["leads?.csv", "leads*.csv", "leads[1].csv", "leads{1,2}.csv"])
def test_the_name_of_an_object_is_not_a_pattern(storage, name):
    storage.put_text("leads1.csv", "of another user")
    files = ResultFiles(f"{storage.url}/{name}")
    files.check_writable()
    write(files, [[1, "x"]])
    assert storage.texts() == {
        "leads1.csv": "of another user",
        name: "id,found\r\n1,x\r\n",
        name.replace(".csv", ".errors.csv"): "id,error\r\n",
    }


def test_an_object_is_not_visible_before_it_is_complete(storage):
    files = ResultFiles(f"{storage.url}/leads.csv")
    write(files, [["old", 1]])
    before = storage.texts()
    with files.replaced(*COLUMNS) as (output, _):
        output.write(["new", "x" * 100_000])
        assert storage.texts() == before


def test_checking_keeps_an_existing_object(storage):
    storage.put_text("leads.csv", "of last night")
    ResultFiles(f"{storage.url}/leads.csv").check_writable()
    assert storage.texts() == {"leads.csv": "of last night"}


def test_a_full_disk_for_temporary_files_is_named(storage, tmp_path, monkeypatch, mounts):
    files = ResultFiles(f"{storage.url}/leads.csv")
    write(files, [["old", 1]])
    before = storage.texts()

    def attempt():
        mounts.tmpfs(tmp_path, "64k")
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        with pytest.raises(OSError, match=rf"^Cannot write temporary files: No space left on device. \[{tmp_path}\]$"):
            write(files, [[number, "x" * 1000] for number in range(100)])

    mounts.run(attempt)
    assert storage.texts() == before


@pytest.mark.parametrize("use", ["rows to send", "results to sort"])
def test_a_full_directory_for_temporary_files_is_named(tmp_path, monkeypatch, mounts, use):
    results = [RowResult(number, "success", None, {"note": "x" * 2000}, 1) for number in range(20_000)]

    def fill():
        if use == "rows to send":
            with body_with_list({}, "rows", ('"x"' * 1000 for _ in range(100))):
                pass
        else:
            with ResultSorter() as sorter:
                sorter.fill(results)

    def attempt():
        mounts.tmpfs(tmp_path, "64k")
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        with pytest.raises(OSError, match=rf"^Cannot write temporary files: .* (full|device)\. \[{tmp_path}\]$"):
            fill()

    mounts.run(attempt)


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


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_not_a_file_is_never_replaced(tmp_path, make):
    make(tmp_path / "target")
    (tmp_path / "leads.csv").symlink_to("target")
    with pytest.raises(ValueError, match=r"^Cannot write output_path: (is a directory|not a regular file)\. \["):
        ResultFiles(tmp_path / "leads.csv").check_writable()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")
@pytest.mark.parametrize("name", ["leads.csv", "leads.errors.csv"])
def test_a_file_of_another_user_in_a_sticky_directory_is_detected(shared_directory, without_privileges, name):
    shared_directory.chmod(0o1777)
    (shared_directory / name).touch(mode=0o666)
    problem = "the file is immutable, or belongs to another user and its directory is sticky"
    with (
        without_privileges(),
        pytest.raises(ValueError, match=rf"^Cannot write output_path: {problem}\. \[.*/{name}\]$"),
    ):
        ResultFiles(shared_directory / "leads.csv").check_writable()
    assert names(shared_directory) == [name]


@pytest.mark.parametrize("name", ["leads.csv", "leads.errors.csv"])
def test_a_mounted_file_is_detected(tmp_path, mounts, name):
    for path in (tmp_path / name, mounted := tmp_path / "mounted"):
        path.write_text("of last night")
    problem = "a mounted file cannot be replaced; mount its directory instead"

    def check():
        mounts.bind(mounted, tmp_path / name)
        with pytest.raises(ValueError, match=rf"^Cannot write output_path: {problem}\. \[.*/{name}\]$"):
            ResultFiles(tmp_path / "leads.csv").check_writable()

    mounts.run(check)
    assert names(tmp_path) == sorted([name, "mounted"])
    assert (tmp_path / name).read_text() == mounted.read_text() == "of last night"


def test_if_the_file_was_mounted_in_the_meantime_a_new_file_is_written_next_to_it(tmp_path, mounts):
    (tmp_path / "leads.csv").write_text("of last night")
    (mounted := tmp_path / "mounted").write_text("mounted")
    for path in (tmp_path / "leads.csv", mounted):
        path.chmod(0o600)
    files = ResultFiles(tmp_path / "leads.csv")

    def attempt():
        files.check_writable()
        with files.replaced(*COLUMNS) as (output, _):
            output.write([1, "x"])
            mounts.bind(mounted, tmp_path / "leads.csv")
        assert (tmp_path / "leads.csv").read_text() == "mounted"

    mounts.run(attempt)
    assert files.output_path == str(tmp_path / f"leads.{JOB}.csv")
    assert (tmp_path / f"leads.{JOB}.csv").read_bytes() == b"id,found\r\n1,x\r\n"
    assert stat.S_IMODE((tmp_path / f"leads.{JOB}.csv").stat().st_mode) == 0o600  # as private as the other two


def test_a_mounted_directory_is_accepted(tmp_path, mounts):
    (tmp_path / "out").mkdir()

    def attempt():
        mounts.tmpfs(tmp_path / "out", "64k")
        files = ResultFiles(tmp_path / "out" / "leads.csv")
        for _ in range(2):
            files.check_writable()
            write(files, [[1, "x"]])
        return (tmp_path / "out" / "leads.csv").read_bytes()

    assert mounts.run(attempt) == b"id,found\r\n1,x\r\n"


def test_a_full_disk_is_detected(tmp_path, mounts):
    (tmp_path / "out").mkdir()

    def attempt():
        mounts.tmpfs(tmp_path / "out", "16k")
        (tmp_path / "out" / "other").write_bytes(bytes(16 * 1024))
        with pytest.raises(ValueError, match=r"^Cannot write output_path: No space left on device\. \[.*leads\.csv\]$"):
            ResultFiles(tmp_path / "out" / "leads.csv").check_writable()
        return names(tmp_path / "out")

    assert mounts.run(attempt) == ["other"]


def test_a_disk_that_becomes_full_leaves_the_files_unchanged(tmp_path, mounts):
    (tmp_path / "out").mkdir()
    paid = f"The rows of bulk job {JOB} have been paid for, and reading them again is free"
    problem = rf"^Cannot write output_path: No space left on device\. {paid}\. \[.*leads\.csv\]$"

    def attempt():
        mounts.tmpfs(tmp_path / "out", "64k")
        files = ResultFiles(tmp_path / "out" / "leads.csv")
        write(files, [["old", 1]])
        before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
        with pytest.raises(ValueError, match=problem):
            write(files, [[number, "x" * 1000] for number in range(100)])
        assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before

    mounts.run(attempt)


def test_a_prefix_of_that_name_in_an_object_storage_is_detected(storage):
    storage.put_text("leads.csv/other.csv", "")
    with pytest.raises(ValueError, match=r"^Cannot write output_path: is a directory\. \[.*leads\.csv\]$"):
        ResultFiles(f"{storage.url}/leads.csv").check_writable()


@pytest.mark.parametrize(
    "input_name",
    ["leads.csv", "leads.errors.csv", "link.csv", "hard_link.csv", "directory/../leads.csv", ".//leads.csv"],
)
@pytest.mark.parametrize("form", ["{}", "file://{}", "local://{}"])
def test_the_input_file_is_never_overwritten(tmp_path, input_name, form):
    (tmp_path / "directory").mkdir()
    (tmp_path / "leads.csv").write_text("id\n1\n")
    (tmp_path / "link.csv").symlink_to(tmp_path / "leads.csv")
    (tmp_path / "hard_link.csv").hardlink_to(tmp_path / "leads.csv")
    source = row_source(input_path=form.format(f"{tmp_path}/{input_name}"))
    with pytest.raises(ValueError, match=r"^output_path must not overwrite the input file; got .*leads\."):
        ResultFiles(tmp_path / "leads.csv").check_not_input(source)


def test_a_relative_path_to_the_input_file_is_recognized(tmp_path, monkeypatch):
    (tmp_path / "leads.csv").write_text("id\n1\n")
    monkeypatch.chdir(tmp_path)
    source = row_source(input_path=f"file://{tmp_path}/leads.csv")
    with pytest.raises(ValueError, match=r"^output_path must not overwrite the input file; got leads\.csv$"):
        ResultFiles("leads.csv").check_not_input(source)


@pytest.mark.parametrize("output_path", ["memory://bucket//leads.csv", "memory://other@bucket/leads.csv"])
def test_an_input_object_is_recognized_by_another_spelling_and_connection(storage, output_path):
    attach(Storage(account="other"), "memory", "other")
    storage.put_text("leads.csv", "id\n1\n")
    source = row_source(input_path=f"{storage.url}/leads.csv")
    with pytest.raises(ValueError, match=r"^output_path must not overwrite the input file; got memory://"):
        ResultFiles(output_path).check_not_input(source)


@pytest.mark.parametrize("text", [None, "an older list"])
def test_the_same_key_in_another_storage_is_another_file(storage, text):
    (other := Storage(account="other")).store = {}
    attach(other, "memory", "other")
    if text:
        other.put_text("leads.csv", text)
    storage.put_text("leads.csv", "id\n1\n")
    ResultFiles("memory://other@bucket/leads.csv").check_not_input(row_source(input_path=f"{storage.url}/leads.csv"))


def test_a_local_file_and_an_object_are_never_the_same_file(storage, tmp_path):
    local, remote = tmp_path / "leads.csv", f"{storage.url}/leads.csv"
    for one, other in ((local, remote), (remote, local)):
        ResultFiles(one).check_not_input(row_source(input_path=other))


def test_two_objects_of_one_storage_are_different_files(storage):
    storage.put_text("in.csv", "id\n1\n")
    ResultFiles(f"{storage.url}/leads.csv").check_not_input(row_source(input_path=f"{storage.url}/in.csv"))


def test_objects_in_storages_of_different_kinds_are_never_the_same_file(storage):
    class OtherKind(Storage):
        pass

    attach(OtherKind(), "memory", "other")
    storage.put_text("leads.csv", "id\n1\n")
    ResultFiles("memory://other@bucket/leads.csv").check_not_input(row_source(input_path=f"{storage.url}/leads.csv"))


def test_an_input_file_in_an_object_storage_is_never_overwritten(storage):
    source = row_source(input_path=f"{storage.url}/leads.csv")
    with pytest.raises(ValueError, match=r"^output_path must not overwrite the input file; got memory://"):
        ResultFiles(f"{storage.url}/leads.csv").check_not_input(source)


@pytest.mark.parametrize("rows", [{"rows": [{"id": 1}]}, {"input_path": "leads.in.csv"}], ids=str)
def test_any_other_input_is_accepted(tmp_path, rows):
    ResultFiles(tmp_path / "leads.csv").check_not_input(row_source(**rows))


FORMULAS = [
    '=HYPERLINK("https://x.example";"mail")',
    "=1+1",
    "@SUM(A1)",
    "+cmd|' /C calc'!A0",
    "+E1",
    "-5+E12",
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
    with ResultFiles(str(path), **options).replaced(["title", "lm_title"], ["id"], JOB) as (output, _):
        output.write([text, text])
    content = path.read_bytes().decode()
    if path.suffix == ".jsonl":
        return list(json.loads(content).values())
    [_, row] = csv.reader(io.StringIO(content, newline=""))
    return row


def test_leadmagics_reason_for_a_failed_row_is_escaped_too(tmp_path):
    path = tmp_path / "out.csv"
    with ResultFiles(str(path)).replaced(["id"], ["id", "lm_error_message"], JOB) as (_, errors):
        errors.write(["=1", "=1 is not a domain"])
    assert path.with_name("out.errors.csv").read_text().splitlines()[1] == "=1,'=1 is not a domain"


def test_a_directory_is_writable_although_another_task_removes_the_trial_file(tmp_path, mocker):
    commit = drafts.LocalDraft.commit

    def commit_and_remove(draft):
        commit(draft)
        drafts.remove_leftovers(tmp_path)

    mocker.patch.object(drafts.LocalDraft, "commit", commit_and_remove)
    drafts.check_directory(tmp_path / "found.csv")
    assert list(tmp_path.iterdir()) == []
