"""The benchmark itself, small: that it runs to its end, and that what the notes of its table claim is so."""

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

MANY, LOTS = "4", "20"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run it, and return the folder with what it wrote."""
    folder = tmp_path_factory.mktemp("bench")
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks", "--quick", "--into", str(folder)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        printed, progress = process.communicate(timeout=1200)
    finally:
        process.terminate()  # not killed: it has an Airflow to stop
        process.wait(timeout=60)
    assert process.returncode == 0, progress[-3000:]
    assert printed.strip() == (folder / "bench.md").read_text().strip()
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "bench.json").read_text())


def test_our_gates_look_once_for_all_and_gates_written_by_hand_each_for_itself(results: dict[str, Any]) -> None:
    ours, by_hand = (results["triggerers"][name][LOTS]["looks"] for name in ("ours_deferrable", "own_trigger"))

    # A window of one interval may hold no look of ours, which come a little later each time.
    assert 0 <= ours <= 2
    assert by_hand >= 0.8 * int(LOTS)


def test_gates_in_the_triggerer_occupy_no_slot(results: dict[str, Any]) -> None:
    assert [results["many"][name]["slot_seconds"] for name in ("ours_deferrable", "own_trigger")] == [0, 0]


def test_a_deferrable_http_sensor_with_a_response_check_sits_in_its_slot(results: dict[str, Any]) -> None:
    assert results["many"]["http_deferrable"]["slot_seconds"] == pytest.approx(int(MANY) * 3600, rel=0.02)


def test_our_dag_file_loads_no_http_client(results: dict[str, Any]) -> None:
    modules = {name: costs[0][1] for name, costs in results["imports"].items()}

    assert modules["ours_deferrable"] == modules["ours_reschedule"] <= 20 < modules["python_reschedule"]


def test_every_number_of_gates_has_a_table_with_all_contenders(folder: Path) -> None:
    blocks = (folder / "bench.md").read_text().split("\n\n")

    tables = [block for block in blocks if block.startswith("| ")]
    assert [table.partition(" waiting")[0] for table in tables[:3]] == [
        "| 1 gate",
        f"| {MANY} gates",
        f"| {LOTS} gates",
    ]
    assert [table.count("Sensor") for table in tables] == [5, 5, 5, 5]
