"""The benchmark with few sensors: it completes, and the notes below its tables are true."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.airflow_home import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.bench

MANY, MOST = "4", "20"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the benchmark, and return its output folder."""
    folder = tmp_path_factory.mktemp("bench")
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks", "--quick", "--into", str(folder)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        printed, progress = process.communicate(timeout=1200)
    finally:
        process.terminate()  # not kill: it has to stop its Airflow
        process.wait(timeout=60)
    assert process.returncode == 0, progress[-3000:]
    assert printed.strip() == (folder / "bench.md").read_text().strip()
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "bench.json").read_text())


def test_our_sensors_share_one_poll_and_handwritten_sensors_poll_separately(results: dict[str, Any]) -> None:
    shared, separate = (results["triggerers"][name][MOST]["polls"] for name in ("leadmagic_deferrable", "handwritten"))

    # A window of one interval may contain no shared poll, as each comes slightly more than an interval after the last.
    assert 0 <= shared <= 2
    assert separate >= 0.8 * int(MOST)


def test_sensors_in_the_triggerer_occupy_no_slot(results: dict[str, Any]) -> None:
    assert [results["many"][name]["slot_seconds"] for name in ("leadmagic_deferrable", "handwritten")] == [0, 0]


def test_a_deferrable_http_sensor_with_a_response_check_occupies_its_slot(results: dict[str, Any]) -> None:
    assert results["many"]["http_deferrable"]["slot_seconds"] == pytest.approx(int(MANY) * 3600, rel=0.02)


def test_our_dag_file_loads_no_http_client(results: dict[str, Any]) -> None:
    modules = {name: costs[0][1] for name, costs in results["imports"].items()}

    assert modules["leadmagic_deferrable"] == modules["leadmagic_reschedule"] <= 20 < modules["python_reschedule"]


def test_every_number_of_sensors_has_a_table_with_all_candidates(folder: Path) -> None:
    blocks = (folder / "bench.md").read_text().split("\n\n")

    tables = [block for block in blocks if block.startswith("| ")]
    assert [table.partition(" waiting")[0] for table in tables[:3]] == [
        "| 1 sensor",
        f"| {MANY} sensors",
        f"| {MOST} sensors",
    ]
    assert [table.count("Sensor") for table in tables] == [5, 5, 5, 5]
