"""Which cells there are, and when they are a pass."""

from __future__ import annotations

import pytest

from tests.matrix.cells import Cell, Outcome, Result, all_cells, choose, shortcomings
from tests.matrix.versions import MATRIX, PYTHONS, Version

OLD, NEW, BETA = Version("2.11.2", ("3.11", "3.12")), Version("3.3.2"), Version("3.4.0b2", may_fail=True)


def paths(python: str) -> str | None:
    return None if python == "3.13" else f"/usr/bin/python{python}"


def result(version: Version, outcome: Outcome, python: str = "3.11") -> Result:
    return Result(Cell(version, python), outcome)


def test_every_version_stands_on_every_python_that_there_is() -> None:
    cells = all_cells([OLD, NEW], paths)

    assert [(cell.name, cell.interpreter, cell.is_supported) for cell in cells] == [
        ("2.11.2-python3.11", "/usr/bin/python3.11", True),
        ("2.11.2-python3.12", "/usr/bin/python3.12", True),
        ("2.11.2-python3.13", None, False),
        ("3.3.2-python3.11", "/usr/bin/python3.11", True),
        ("3.3.2-python3.12", "/usr/bin/python3.12", True),
        ("3.3.2-python3.13", None, True),
    ]


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ([], 6),
        (["2.11.2"], 3),
        (["3.3.2-python3.12"], 1),
        (["3.3.2-python3.12", "2.11.2"], 4),
        (["3.3.2", "3.3.2-python3.12"], 3),
    ],
)
def test_a_version_and_a_cell_can_be_chosen(wanted: list[str], chosen: int) -> None:
    assert len(choose(all_cells([OLD, NEW], paths), wanted)) == chosen


def test_what_is_not_in_the_matrix_is_refused_with_what_is() -> None:
    with pytest.raises(ValueError, match=r"^there is no 3\.9 in the matrix; known are 2\.11\.2, 3\.3\.2, and cells"):
        choose(all_cells([OLD, NEW], paths), ["3.9", "3.3.2"])


def test_all_passed_is_a_pass() -> None:
    assert shortcomings([result(OLD, Outcome.PASSED), result(NEW, Outcome.PASSED)]) == []


def test_one_failure_is_none_and_is_named() -> None:
    results = [result(OLD, Outcome.PASSED), result(OLD, Outcome.FAILED, "3.12"), result(NEW, Outcome.PASSED)]

    assert shortcomings(results) == ["2.11.2-python3.12 failed"]


def test_a_pre_release_may_fail_and_may_be_absent() -> None:
    passed = result(NEW, Outcome.PASSED)

    assert shortcomings([passed, result(BETA, Outcome.WARNING)]) == []
    assert shortcomings([passed, result(BETA, Outcome.NO_PYTHON)]) == []


def test_a_version_that_ran_on_one_python_may_lack_the_others() -> None:
    results = [
        result(OLD, Outcome.PASSED),
        result(OLD, Outcome.NO_PYTHON, "3.12"),
        result(OLD, Outcome.UNSUPPORTED, "3.13"),
    ]

    assert shortcomings(results) == []


def test_a_version_that_ran_on_none_is_no_pass() -> None:
    results = [
        result(NEW, Outcome.PASSED),
        result(OLD, Outcome.NO_PYTHON),
        result(OLD, Outcome.UNSUPPORTED, "3.13"),
    ]

    assert shortcomings(results) == ["2.11.2 ran on no Python"]


def test_only_the_pre_release_may_fail() -> None:
    assert [version.name for version in MATRIX if version.may_fail] == ["3.4.0b2"]


def test_the_names_of_the_versions_are_all_different() -> None:
    assert len({version.name for version in MATRIX}) == len(MATRIX)


def test_every_version_supports_the_oldest_python() -> None:
    assert all(PYTHONS[0] in version.pythons for version in MATRIX)
