"""The rooms of the package, and what may import what."""

from __future__ import annotations

import pytest

from dev import structure

FIGURES = structure.figures()


@pytest.mark.parametrize(
    ("figure", "limit"),
    [
        ("root modules", structure.MOST_ROOT_MODULES),
        ("files", structure.MOST_FILES),
        ("files of the sandbox", structure.MOST_SANDBOX_FILES),
        ("lines of the longest module", structure.MOST_LINES),
        ("function length, p90", structure.LONGEST_FUNCTION_P90),
    ],
)
def test_the_house_stays_small(figure: str, limit: int) -> None:
    assert FIGURES[figure] <= limit


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert structure.circles() == []


def test_no_two_folders_import_each_other() -> None:
    assert structure.mutual_folders() == []


def test_every_import_is_one_the_table_allows() -> None:
    assert structure.forbidden_imports() == []


@pytest.mark.parametrize("room", ["api", "decisions", "client", "exceptions", "sandbox"])
def test_there_is_nothing_of_airflow_in(room: str) -> None:
    assert structure.airflow_imports(room) == []


def test_an_import_is_seen_wherever_it_stands() -> None:
    assert "hooks.leadmagic" in structure.imports_of("sensors.credits")  # within a function
    assert "operators._bulk_run" in structure.imports_of("operators.bulk")  # for type checkers
    assert "__init__" in structure.imports_of("api.transport")  # the version
