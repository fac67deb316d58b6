"""What the table of the benchmark says, by numbers that were made up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.contenders import CONTENDERS, Waits
from benchmarks.plan import FULL
from benchmarks.real_runs import Waited
from benchmarks.results import Results
from benchmarks.table import markdown
from benchmarks.triggerer_runs import SLEEPING, Triggered


@pytest.fixture(scope="module")
def text() -> str:
    """Lay the tables out."""
    waited = Waited(looks=90.0, slot_seconds=7200.0, first_open=30.0, last_open=45.0)
    ours = Waited(looks=0.9, slot_seconds=0.0, first_open=40.0, last_open=50.0)
    names = [contender.name for contender in CONTENDERS]
    results = Results(
        plan=FULL,
        machine="a machine",
        imports={name: [(20.0, 15), (90.0, 15), (30.0, 15)] for name in names} | {"http_reschedule": [(300.0, 223)]},
        alone={name: [replace(ours, looks=looks) for looks in (1.0, 0.2, 7.0)] for name in names},
        many={
            **{contender.name: waited for contender in CONTENDERS if contender.waits is not Waits.ON_A_WORKER},
            "ours_deferrable": ours,
            "ours_reschedule": replace(waited, slot_seconds=9000.0),
        },
        triggerers={
            "ours_deferrable": dict.fromkeys(("1", "100", "1000"), Triggered(0.95, 0.5, 150.0, 31.0, 32.0)),
            "own_trigger": dict.fromkeys(("1", "100", "1000"), Triggered(990.0, 5.0, 600.0, 1.0, 62.0)),
            SLEEPING: dict.fromkeys(("1", "100", "1000"), Triggered(0.0, 0.4, 140.0)),
        },
    )
    return markdown(results)


@pytest.fixture(scope="module")
def lines(text: str) -> dict[str, list[str]]:
    """Give the rows of each contender, from one gate to a thousand, then the imports."""
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    return {contender.name: [row for row in rows if contender.title in row] for contender in CONTENDERS}


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")][1:]


def test_each_number_has_its_ratio_to_ours_also_where_we_lose(lines: dict[str, list[str]]) -> None:
    assert cells(lines["http_reschedule"][1]) == ["90 (×100)", "7,200 (×0.8)", "–", "–", "30 (×0.75)", "45 (×0.9)"]


def test_ours_has_none(lines: dict[str, list[str]]) -> None:
    assert cells(lines["ours_deferrable"][1]) == ["0.9", "0", "0.5", "150", "40", "50"]


def test_single_gates_are_medians(lines: dict[str, list[str]]) -> None:
    assert cells(lines["ours_deferrable"][0])[0] == "1.0"


def test_a_note_tells_what_each_of_many_gates_takes_to_open(text: str) -> None:
    assert "took about 0.1 s for each gate when\n100 opened" in text  # 99 more in ten seconds


def test_what_was_computed_is_marked(lines: dict[str, list[str]]) -> None:
    # A look of each, and ten times the slot seconds of 100 gates; and 100 slots for 3,600 s.
    assert cells(lines["http_reschedule"][2])[:2] == ["*≈ 1,000 (×1,053)* ²", "*≈ 72,000 (×0.8)* ²"]
    assert cells(lines["http_deferrable"][1])[:2] == ["*≈ 100 (×111)* ²", "*≈ 360,000 (×40)* ²"]


def test_what_cannot_be_run_has_no_number(lines: dict[str, list[str]]) -> None:
    assert cells(lines["http_deferrable"][1])[2:] == ["–"] * 4


def test_gates_of_a_triggerer_alone_open_when_their_trigger_fires(lines: dict[str, list[str]]) -> None:
    row = ["990 (×1,042)", "*≈ 0* ²", "5.0 (×10.0)", "600 (×4.0)", "1.0 (×0.032) ³", "62 (×1.9) ³"]

    assert cells(lines["own_trigger"][2]) == row


def test_imports_are_medians(lines: dict[str, list[str]]) -> None:
    assert cells(lines["ours_deferrable"][3]) == ["30", "15"]
    assert cells(lines["http_reschedule"][3]) == ["300 (×10.0)", "223 (×14.9)"]
