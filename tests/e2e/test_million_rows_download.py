"""Downloading a million results takes at most twice as long as with curl, in constant memory."""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from tests.unit.sandbox.running_command import CHECKOUT, running

pytestmark = [
    pytest.mark.e2e,  # takes a minute, and measures the memory and time of subprocesses
    pytest.mark.any_airflow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="compares with curl, which is not installed"),
]

MILLION = 1_000_000
ROUNDS = 3
KEY = "sandbox-key-for-tests"
DOWNLOAD = r"""
import sys, time
from airflow_provider_leadmagic.client import LeadMagicClient
url, key, job_id, path = sys.argv[1:]
from tests.support.memory import peak_memory
with LeadMagicClient(key, url) as client, open(path, "wb") as file:
    client.get_credits()
    before, started = peak_memory(), time.monotonic()
    client.bulk.download(job_id, file)
    print(time.monotonic() - started, peak_memory() - before)
"""


def download_with_curl(url: str, job_id: str, path: Path) -> float:
    started = time.monotonic()
    download_url = f"{url}/bulk/jobs/{job_id}/download"
    subprocess.run(
        ["curl", "-s", "--fail", "-H", f"X-API-Key: {KEY}", "-o", path, download_url], check=True, timeout=120
    )
    return time.monotonic() - started


def download_with_client(url: str, job_id: str, path: Path) -> tuple[float, int]:
    command = [sys.executable, "-c", DOWNLOAD, url, KEY, job_id, str(path)]
    done = subprocess.run(command, cwd=CHECKOUT, check=True, timeout=120, capture_output=True, text=True)
    seconds, memory = done.stdout.split()
    return float(seconds), int(memory)


def test_a_million_rows_take_at_most_twice_as_long_as_with_curl_in_constant_memory(tmp_path):
    curled, downloaded = tmp_path / "curl.csv", tmp_path / "client.csv"
    curl_seconds, client_seconds, memory = [], [], []
    with running("--port", 0) as process:
        url = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
        job = requests.post(f"{url}/_sandbox/bulk/jobs", json={"rows": MILLION}, timeout=5).json()["job_id"]
        for _ in range(ROUNDS):
            curl_seconds.append(download_with_curl(url, job, curled))
            seconds, grown = download_with_client(url, job, downloaded)
            client_seconds.append(seconds)
            memory.append(grown)
    curl, client = statistics.median(curl_seconds), statistics.median(client_seconds)
    megabytes = downloaded.stat().st_size / 1e6
    print(
        f"{MILLION:,} rows, {megabytes:.0f} MB; medians of {ROUNDS}: curl {curl:.2f} s, client {client:.2f} s "
        f"({client / curl:.2f} times as long), client's peak memory +{max(memory) / 1e6:.1f} MB"
    )
    with curled.open("rb") as one, downloaded.open("rb") as other:
        assert all(a == b for a, b in zip(one, other, strict=True))
    assert client < 2 * curl
    assert max(memory) < 200e6
