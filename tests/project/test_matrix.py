"""How the matrix runner handles cells that fail, with a fake ``make``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dev import matrix

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAKE = """#!/bin/sh
echo "$@" $MAKEFLAGS $ONLY >>calls
for last; do case $last in VENV=*{fails}*) echo "== 2 failed, 3 passed in 60.0s =="; exit 2;; esac; done
echo "== 5 passed, 1 skipped in 60.0s =="
"""


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that makes the tests of one cell fail, and those of all others pass."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    for name in ("MAKEFLAGS", "ONLY"):
        monkeypatch.setenv(name, "--from-the-caller")
    monkeypatch.setattr(matrix, "find_python", lambda python: python)

    def fail(cell: str) -> None:
        (tmp_path / "make").write_text(MAKE.format(fails=cell))
        (tmp_path / "make").chmod(0o755)

    return fail


@pytest.mark.parametrize(
    ("cell", "outcome", "code"),
    # Cells that run "make" twice.
    [("3.1.8-python3.12", "FAILED", 1), ("3.4.0b2-python3.12", "failed (allowed)", 0), ("none", "passed", 0)],
)
def test_a_failure_does_not_stop_other_cells_and_is_allowed_for_a_pre_release(
    failing: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    cell: str,
    outcome: str,
    code: int,
) -> None:
    failing(cell)

    assert matrix.main("2") == code

    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(matrix.CELLS) == 18
    for name, (version, python) in matrix.CELLS.items():
        tests = "all" if matrix.VERSIONS[version] == python else "unit"
        counts = {"all": "10 | 0 | 2 | 2.0", "unit": "5 | 0 | 1 | 1.0"}[tests]
        expected = f"{outcome} | 6 | 4 | 0 | 2.0" if name == cell else f"passed | {counts}"
        assert f"| {version} | {python} | {tests} | {expected} |" in rows
    assert "--from-the-caller" not in (tmp_path / "calls").read_text()


@pytest.mark.parametrize(("only", "runs"), [("3.1.8", 4), ("oldest", 3), ("2.11.2-python3.11", 1)])
def test_versions_and_cells_can_be_named(failing: Callable[[str], None], tmp_path: Path, only: str, runs: int) -> None:
    failing("none")

    assert matrix.main("1", only) == 0

    assert len((tmp_path / "calls").read_text().splitlines()) == runs


def test_every_airflow_runs_its_end_to_end_tests_with_one_python_and_its_unit_tests_with_all(
    failing: Callable[[str], None], tmp_path: Path
) -> None:
    failing("none")

    matrix.main("3")

    calls = (tmp_path / "calls").read_text().splitlines()
    assert _versions_of(" test-slow ", calls) == list(matrix.VERSIONS)
    assert sum(" test " in call or " test-unit " in call for call in calls) == len(matrix.CELLS)
    assert set(matrix.VERSIONS.values()) == {"3.11", "3.12", "3.13"}


def test_end_to_end_tests_run_with_another_python_if_the_preferred_one_is_missing(
    failing: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing("none")
    monkeypatch.setattr(matrix, "find_python", lambda python: python if python == "3.12" else None)

    matrix.main("3")

    calls = (tmp_path / "calls").read_text().splitlines()
    assert _versions_of(" test-slow ", calls) == list(matrix.VERSIONS)


def test_what_processes_cost_is_measured_after_all_other_tests(failing: Callable[[str], None], tmp_path: Path) -> None:
    failing("none")

    matrix.main("3")

    calls = (tmp_path / "calls").read_text().splitlines()
    last = calls[-len(matrix.VERSIONS) :]
    assert _versions_of(" test-load ", last) == list(matrix.VERSIONS)
    assert all(" test-load " in call for call in last)
    assert len(calls) == len(matrix.CELLS) + len(last)


def _versions_of(target: str, calls: list[str]) -> list[str]:
    return [
        version
        for version in matrix.VERSIONS
        for call in calls
        if target in call and f"VENV=.build/venv-{version}-" in call
    ]


def test_an_unknown_version_is_rejected() -> None:
    with pytest.raises(SystemExit, match=r"^1\.10: not in the matrix; choose from oldest-python3\.11, "):
        matrix.main("1", "1.10")


def test_a_matrix_without_any_python_fails(failing: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    failing("none")
    monkeypatch.setattr(matrix, "find_python", lambda _: None)

    assert matrix.main() == 1
