"""The tables of the benchmark, formatted from invented numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.candidates import CANDIDATES, WaitsIn
from benchmarks.plan import FULL
from benchmarks.real_runs import WaitResult
from benchmarks.results import Results
from benchmarks.table import markdown
from benchmarks.triggerer_runs import SLEEPING, TriggererResult


@pytest.fixture(scope="module")
def text() -> str:
    """Format the tables."""
    other = WaitResult(polls=90.0, slot_seconds=7200.0, first_success=30.0, last_success=45.0)
    deferrable = WaitResult(polls=0.9, slot_seconds=0.0, first_success=40.0, last_success=50.0)
    names = [candidate.name for candidate in CANDIDATES]
    results = Results(
        plan=FULL,
        machine="a machine",
        imports={name: [(20.0, 15), (90.0, 15), (30.0, 15)] for name in names} | {"http_reschedule": [(300.0, 223)]},
        alone={name: [replace(deferrable, polls=polls) for polls in (1.0, 0.2, 7.0)] for name in names},
        many={
            **{candidate.name: other for candidate in CANDIDATES if candidate.waits_in is not WaitsIn.WORKER_SLOT},
            "leadmagic_deferrable": deferrable,
            "leadmagic_reschedule": replace(other, slot_seconds=9000.0),
        },
        triggerers={
            "leadmagic_deferrable": dict.fromkeys(("1", "100", "1000"), TriggererResult(0.95, 0.5, 150.0, 31.0, 32.0)),
            "handwritten": dict.fromkeys(("1", "100", "1000"), TriggererResult(990.0, 5.0, 600.0, 1.0, 62.0)),
            SLEEPING: dict.fromkeys(("1", "100", "1000"), TriggererResult(0.0, 0.4, 140.0)),
        },
    )
    return markdown(results)


@pytest.fixture(scope="module")
def lines(text: str) -> dict[str, list[str]]:
    """Return the rows of each candidate: 1, 100 and 1,000 sensors, then the imports."""
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    return {candidate.name: [row for row in rows if candidate.title in row] for candidate in CANDIDATES}


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")][1:]


def test_each_number_has_its_ratio_to_the_deferrable_sensor_even_below_1(lines: dict[str, list[str]]) -> None:
    assert cells(lines["http_reschedule"][1]) == ["90 (×100)", "7,200 (×0.8)", "–", "–", "30 (×0.75)", "45 (×0.9)"]


def test_the_deferrable_sensor_itself_has_no_ratios(lines: dict[str, list[str]]) -> None:
    assert cells(lines["leadmagic_deferrable"][1]) == ["0.9", "0", "0.5", "150", "40", "50"]


def test_results_of_single_sensors_are_medians(lines: dict[str, list[str]]) -> None:
    assert cells(lines["leadmagic_deferrable"][0])[0] == "1.0"


def test_a_note_states_the_time_per_sensor_to_start_many_tasks_again(text: str) -> None:
    assert "took about 0.1 s per sensor when\n100 sensors succeeded" in text  # 99 more in ten seconds


def test_computed_numbers_are_marked(lines: dict[str, list[str]]) -> None:
    # One poll per sensor, and ten times the slot seconds of 100 sensors; and 100 slots for 3,600 s.
    assert cells(lines["http_reschedule"][2])[:2] == ["*≈ 1,000 (×1,053)* ²", "*≈ 72,000 (×0.8)* ²"]
    assert cells(lines["http_deferrable"][1])[:2] == ["*≈ 100 (×111)* ²", "*≈ 360,000 (×40)* ²"]


def test_measurements_that_are_not_possible_have_no_number(lines: dict[str, list[str]]) -> None:
    assert cells(lines["http_deferrable"][1])[2:] == ["–"] * 4


def test_sensors_in_a_standalone_triggerer_succeed_when_their_trigger_fires(lines: dict[str, list[str]]) -> None:
    row = ["990 (×1,042)", "*≈ 0* ²", "5.0 (×10.0)", "600 (×4.0)", "1.0 (×0.032) ³", "62 (×1.9) ³"]

    assert cells(lines["handwritten"][2]) == row


def test_import_times_are_medians(lines: dict[str, list[str]]) -> None:
    assert cells(lines["leadmagic_deferrable"][3]) == ["30", "15"]
    assert cells(lines["http_reschedule"][3]) == ["300 (×10.0)", "223 (×14.9)"]
