"""Output files in an S3 bucket, served by moto on loopback: complete and under their names, or not there at all."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest

from airflow_provider_leadmagic.bulk.output import ResultFiles
from airflow_provider_leadmagic.bulk.rows import row_source
from tests.unit.bulk.conftest import attach

s3fs = pytest.importorskip("s3fs", reason="needs s3fs and moto: make test-storage")

JOB = "6ad7e1f0-6a39-4a6e-9bb7-6b1e2b8f9a55"
COLUMNS = (["id", "found"], ["id", "error"], JOB)
ODD_NAMES = ["leads?.csv", "leads*.csv", "leads[1].csv", "leads{1,2}.csv", "ü #%41 &+.csv", "a/b[!x]/**/leads.csv"]


@pytest.fixture(scope="module")
def endpoint():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class Bucket:
    """A bucket in the S3 server: its complete objects and its unfinished uploads."""

    name = "leads"
    url = "s3://leads"

    def __init__(self, endpoint):
        self.fs = connect(endpoint)
        if self.fs.exists(self.name):
            self.fs.rm(self.name, recursive=True)
        self.fs.call_s3("create_bucket", Bucket=self.name)

    def texts(self):
        self.fs.invalidate_cache()
        keys = [item["Key"] for item in self.fs.call_s3("list_objects_v2", Bucket=self.name).get("Contents", ())]
        return {key: self.fs.cat_file(f"{self.name}/{key}").decode() for key in keys}

    def uploads(self):
        found = self.fs.call_s3("list_multipart_uploads", Bucket=self.name)
        return [upload["Key"] for upload in found.get("Uploads", ())]


def connect(endpoint, **options):
    client = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    return s3fs.S3FileSystem(key="key", secret="secret", client_kwargs=client, skip_instance_cache=True, **options)


@pytest.fixture
def bucket(endpoint):
    bucket = Bucket(endpoint)
    attach(bucket.fs, "s3")
    return bucket


def replace_calls(monkeypatch, call):
    """Replace the method through which s3fs sends all its requests."""
    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", call)
    monkeypatch.setattr(s3fs.S3FileSystem, "call_s3", s3fs.core.sync_wrapper(call))
    monkeypatch.setattr(s3fs.core.S3File, "_call_s3", lambda self, method, *a, **k: self.fs.call_s3(method, *a, **k))


def write(files, rows=(), errors=()):
    with files.replaced(*COLUMNS) as writers:
        for writer, lines in zip(writers, (rows, errors), strict=True):
            for line in lines:
                writer.write(line)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_each_name_is_a_name_and_not_a_pattern(bucket, name):
    stem = name.removesuffix(".csv")
    bucket.fs.pipe_file("leads/leads1.csv", b"of another user")
    files = ResultFiles(f"{bucket.url}/{name}")
    for number in (1, 2):
        files.check_writable()
        write(files, [[number, "x"]], [[number, "y"]])
        assert bucket.texts() == {
            "leads1.csv": "of another user",
            f"{stem}.csv": f"id,found\r\n{number},x\r\n",
            f"{stem}.errors.csv": f"id,error\r\n{number},y\r\n",
        }


def test_nothing_is_visible_before_both_files_are_complete(bucket):
    files = ResultFiles(f"{bucket.url}/leads.csv")
    write(files, [["old", 1]])
    before = bucket.texts()
    with files.replaced(*COLUMNS) as (output, _):
        for number in range(1000):
            output.write([number, "x" * 10_000])
        assert bucket.texts() == before
    assert len(bucket.texts()["leads.csv"]) > 10_000_000
    assert bucket.uploads() == []


def test_a_file_without_rows_is_written(bucket):
    write(ResultFiles(f"{bucket.url}/leads.jsonl"))
    assert bucket.texts() == {"leads.jsonl": "", "leads.errors.jsonl": ""}
    assert bucket.uploads() == []


def test_checking_keeps_what_is_there_and_leaves_nothing(bucket):
    bucket.fs.pipe_file("leads/leads.csv", b"of last night")
    ResultFiles(f"{bucket.url}/leads.csv").check_writable()
    assert bucket.texts() == {"leads.csv": "of last night"}
    assert bucket.uploads() == []


def test_an_error_leaves_nothing(bucket):
    files = ResultFiles(f"{bucket.url}/leads.csv")
    write(files, [["old", 1]])
    before = bucket.texts()
    with pytest.raises(TypeError):
        write(files, [["new", 2]], [["new", 3], None])
    assert bucket.texts() == before
    assert bucket.uploads() == []


def test_an_upload_that_fails_half_way_leaves_nothing(bucket, monkeypatch):
    call = s3fs.S3FileSystem._call_s3

    async def fail_after_the_first_part(self, method, *arguments, **options):
        if method == "upload_part" and options["PartNumber"] > 1:
            raise OSError("the network is down")
        return await call(self, method, *arguments, **options)

    replace_calls(monkeypatch, fail_after_the_first_part)
    lines = ([number, "x" * 100_000] for number in range(1200))  # more than one part
    with pytest.raises(ValueError, match=r"^Cannot write output_path: the network is down\."):
        write(ResultFiles(f"{bucket.url}/leads.csv"), lines)
    assert bucket.texts() == {}
    assert bucket.uploads() == []


@pytest.mark.parametrize("moment", ["while it writes", "before it commits"])
def test_a_killed_worker_leaves_no_object(bucket, endpoint, moment):
    script = f"""
import os, signal
from airflow_provider_leadmagic.bulk import drafts
from tests.unit.bulk.test_object_storage import COLUMNS, ResultFiles, attach, connect

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

attach(connect({endpoint!r}), "s3")
drafts.UploadDraft.commit = die
with ResultFiles("s3://leads/leads.csv").replaced(*COLUMNS) as (output, _):
    output.write([1, "x"])
    if {moment!r} == "while it writes":
        die()
"""
    killed = subprocess.run([sys.executable, "-W", "ignore", "-c", script], env={**os.environ, "PYTHONPATH": "."})
    assert killed.returncode == -signal.SIGKILL
    assert bucket.texts() == {}
    assert bool(bucket.uploads()) is (moment == "before it commits")


@pytest.fixture
def refused(bucket, monkeypatch):
    """Return a set of keys that the server does not let anyone replace."""
    keys, call = set(), s3fs.S3FileSystem._call_s3

    async def refuse(self, method, *arguments, **options):
        if method in ("put_object", "create_multipart_upload") and options.get("Key") in keys:
            raise PermissionError(f"Access Denied for https://s3/{options['Key']}?X-Amz-Signature=5ec3e7&token=5ec3e7")
        return await call(self, method, *arguments, **options)

    replace_calls(monkeypatch, refuse)
    return keys


@pytest.mark.parametrize("key", ["leads.csv", "leads.errors.csv"])
def test_a_name_that_cannot_be_replaced_is_detected(bucket, refused, key):
    refused.add(key)
    problem = f"^Cannot write output_path: Access Denied for https://s3/{key}?***. [s3://leads/{key}]"
    with pytest.raises(ValueError, match=re.escape(problem).replace(r"\^", "^")):
        ResultFiles(f"{bucket.url}/leads.csv").check_writable()
    assert bucket.texts() == {}
    assert bucket.uploads() == []


def test_rows_go_to_a_new_file_if_the_given_one_can_no_longer_be_written(bucket, refused, logged):
    files = ResultFiles(f"{bucket.url}/leads.csv")
    with files.replaced(*COLUMNS) as (output, _):
        output.write([1, "x"])
        refused.add("leads.csv")
    assert files.output_path == f"s3://leads/leads.{JOB}.csv"
    assert bucket.texts() == {f"leads.{JOB}.csv": "id,found\r\n1,x\r\n", "leads.errors.csv": "id,error\r\n"}
    assert f"Writing rows of bulk job {JOB} to a new file. [s3://leads/leads.{JOB}.csv]" in logged()
    assert "5ec3e7" not in logged()


def test_a_missing_bucket_is_detected(bucket):
    with pytest.raises(ValueError, match=r"^Cannot write output_path: .*\. \[s3://absent/leads\.csv\]$"):
        ResultFiles("s3://absent/leads.csv").check_writable()


def test_a_server_that_is_away_is_reported_in_one_sentence(closed_port):
    attach(connect(f"http://127.0.0.1:{closed_port}", config_kwargs={"retries": {"max_attempts": 0}}), "s3")
    with pytest.raises(
        ValueError, match=r"^Cannot write output_path: Could not connect.*\. \[s3://leads/leads\.csv\]$"
    ):
        ResultFiles("s3://leads/leads.csv").check_writable()
    with pytest.raises(ValueError, match=r"^Cannot read input_path: Could not connect.*\. \[s3://leads/leads\.csv\]$"):
        list(row_source(input_path="s3://leads/leads.csv"))


@pytest.mark.parametrize(
    "output_path",
    ["s3://leads/x/in.csv", "s3://other@leads/x/in.csv", "s3://leads//x/in.csv", "s3://leads/x/y/../in.csv"],
)
def test_the_input_is_recognized_by_another_connection_and_another_spelling(bucket, endpoint, output_path):
    attach(connect(endpoint, use_ssl=False), "s3", "other")
    bucket.fs.pipe_file("leads/x/in.csv", b"id\r\n1\r\n")
    source = row_source(input_path="s3://leads/x/in.csv")
    with pytest.raises(ValueError, match=r"^output_path must not overwrite the input file; got s3://"):
        ResultFiles(output_path).check_not_input(source)
