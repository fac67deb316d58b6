"""Writing a million results to a file needs little memory."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import requests

from tests.unit.sandbox.running_command import CHECKOUT, running

pytestmark = [
    pytest.mark.e2e,  # takes half a minute, and measures the memory of a subprocess
    pytest.mark.any_airflow,
]

MILLION = 1_000_000
KEY = "sandbox-key-for-tests"


@pytest.fixture
def job():
    """Create a completed job of a million rows in its own sandbox; return the URL and the job ID."""
    with running("--port", 0) as process, requests.Session() as session:
        session.trust_env = False
        url = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
        yield url, session.post(f"{url}/_sandbox/bulk/jobs", json={"rows": MILLION}, timeout=5).json()["job_id"]


@pytest.fixture
def input_path(tmp_path):
    path = tmp_path / "leads.csv"
    with path.open("w") as file:
        file.write("crm_id,full_name,domain\n")
        file.writelines(f"crm-{row},Lead {row},example.com\n" for row in range(MILLION))
    return path


def test_a_million_rows_are_written_in_constant_memory(job, input_path, tmp_path):
    url, job_id = job
    output_path = tmp_path / "enriched.csv"
    arguments = [url, KEY, job_id, input_path, output_path]
    command = [sys.executable, "-m", "tests.e2e.results_writer", *map(str, arguments)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    seconds, cpu, grown = report["seconds"], report["cpu"], report["grown"]
    print(f"{seconds:.1f} s ({cpu:.1f} s of CPU), {MILLION / seconds:,.0f} rows/s, {grown / 1e6:.0f} MB more memory")
    assert report["succeeded"] == MILLION
    assert grown < 200_000_000
    with output_path.open() as file:
        assert sum(1 for _ in file) == 1 + MILLION
    with output_path.open() as file:
        lines = [next(file) for _ in range(3)]
    assert lines == [
        "crm_id,full_name,domain,lm_email,lm_status,lm_credits_consumed\n",
        "crm-0,Lead 0,example.com,lead.0@example.com,valid,1\n",
        "crm-1,Lead 1,example.com,lead.1@example.com,valid,1\n",
    ]
