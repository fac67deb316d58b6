from __future__ import annotations

import re

import pytest

from tests.support.memory import peak_memory
from tests.unit.sandbox.running_command import running

pytestmark = [
    pytest.mark.e2e,  # takes seconds and measures the memory of a subprocess
    pytest.mark.any_airflow,
]

MILLION = 1_000_000
KEY = {"X-API-Key": "sandbox-key-for-tests"}


def test_a_million_rows_can_be_read_without_holding_them_in_memory(session):
    with running("--port", 0) as process:
        url = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
        job_id = session.post(f"{url}/_sandbox/bulk/jobs", json={"rows": MILLION}, timeout=5).json()["job_id"]
        before = peak_memory(process.pid)
        with session.get(f"{url}/bulk/jobs/{job_id}/download", headers=KEY, stream=True, timeout=30) as response:
            lines = sum(chunk.count(b"\n") for chunk in response.iter_content(1 << 20))
        last = {"limit": 1000, "offset": MILLION - 1000}
        page = session.get(f"{url}/bulk/jobs/{job_id}/results", headers=KEY, params=last, timeout=5).json()["rows"]
        grown = peak_memory(process.pid) - before
    assert lines == 1 + MILLION
    assert {row["row_index"] for row in page} == set(range(MILLION - 1000, MILLION))
    assert grown < 50_000_000
