"""The whole of it, with a ``make`` that installs nothing and whose tests end as they are told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from dev.local_airflow import wait_until
from tests.matrix import __main__ as matrix
from tests.matrix import run_cell
from tests.matrix.versions import Version
from tests.support.airflow_home import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

Story = Callable[..., None]
Run = Callable[..., tuple[int, str]]

OLD, NEW, BETA = Version("2.11.2", ("3.11",)), Version("3.3.2", ("3.11",)), Version("3.4.0b2", ("3.11",), may_fail=True)
ALL = "fast, hostile, e2e"
GOOD = "===== 7 passed, 2 skipped in 1.50s ====="
BAD = """FAILED tests/unit/sensors/test_waiting.py::test_that - AssertionError: it did not
ERROR tests/e2e/test_gates.py::test_this[a b]
===== 1 failed, 6 passed, 1 error in 61.10s (0:01:01) ====="""
MAKE = """#!/bin/sh
for argument; do case $argument in AIRFLOW=*) airflow=${argument#*=} ;; VENV=*) venv=${argument#*=} ;; esac; done
case "$*" in
*/.ready)
    mkdir -p "$venv/bin"
    printf '#!/bin/sh\\ncat "%s/installed-%s"\\n' "$STORIES" "$airflow" >"$venv/bin/python"
    chmod +x "$venv/bin/python" ;;
*)
    echo "$*; MAKEFLAGS=$MAKEFLAGS PY_COLORS=$PY_COLORS"
    if [ -e "$STORIES/hangs" ]; then
        trap 'touch "$STORIES/ended"; [ -e "$STORIES/deaf" ] || exit 1' TERM
        touch "$STORIES/waiting"
        while :; do sleep 0.1; done
    fi
    cat "$STORIES/log-$airflow"
    exit "$(cat "$STORIES/exit-$airflow")" ;;
esac
"""


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    """Put this make in the place of the real one, and say how the tests of a version end."""
    make = tmp_path / "make"
    make.write_text(MAKE)
    make.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STORIES", str(tmp_path))
    monkeypatch.setattr(matrix, "MATRIX", (OLD, NEW, BETA))
    monkeypatch.setattr(matrix, "find_python", lambda python: f"/usr/bin/python{python}" if python == "3.11" else None)

    def tell(version: Version, log: str = GOOD, exit_code: int = 0, installed: str = "") -> None:
        (tmp_path / f"log-{version.airflow}").write_text(f"{log}\n")
        (tmp_path / f"exit-{version.airflow}").write_text(str(exit_code))
        (tmp_path / f"installed-{version.airflow}").write_text(installed or f"Airflow {version.airflow} on Python 3.11")

    for version in (OLD, NEW, BETA):
        tell(version)
    return tell


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the matrix, and give its exit code and what it printed."""

    def run(*arguments: str) -> tuple[int, str]:
        code = matrix.main(arguments, tmp_path / "build")
        return code, capsys.readouterr().out

    return run


@pytest.mark.parametrize("at_once", ["1", "2"])
def test_a_pass_is_a_table_and_exit_code_0(story: Story, run: Run, at_once: str) -> None:
    code, printed = run("3.3.2", "--at-once", at_once, "--suites", "test-fast")

    assert code == 0
    assert printed.split("\n\n")[1].splitlines() == [
        "| Airflow | Python | suites | outcome     | passed | failed | skipped | minutes |",
        "| ------- | ------ | ------ | ----------- | ------ | ------ | ------- | ------- |",
        "| 3.3.2   | 3.11   | fast   | passed      | 7      | 0      | 2       | 0.0     |",
        "| 3.3.2   | 3.12   |        | unsupported |        |        |         |         |",
        "| 3.3.2   | 3.13   |        | unsupported |        |        |         |         |",
    ]


def test_a_failure_is_exit_code_1_names_its_tests_and_stops_no_other(story: Story, run: Run) -> None:
    story(OLD, BAD, exit_code=2)

    code, printed = run()

    assert code == 1
    assert f"| 2.11.2  | 3.11   | {ALL} | FAILED      | 6      | 2      | 0 " in printed
    assert f"| 3.3.2   | 3.11   | {ALL} | passed " in printed
    assert (
        "\n    tests/unit/sensors/test_waiting.py::test_that\n    tests/e2e/test_gates.py::test_this[a b]\n" in printed
    )
    assert printed.endswith("\n\n2.11.2-python3.11 failed\n")


def test_a_failure_of_the_pre_release_is_a_warning(story: Story, run: Run) -> None:
    story(BETA, BAD, exit_code=2)

    code, printed = run()

    assert code == 0
    assert f"| 3.4.0b2 | 3.11   | {ALL} | failed (allowed) |" in printed
    assert "tests/unit/sensors/test_waiting.py::test_that" in printed


@pytest.mark.parametrize("installed", ["Airflow 3.3.1 on Python 3.11", "Airflow 3.3.2 on Python 3.12"])
def test_another_airflow_or_python_than_asked_for_is_a_failure_without_a_single_test(
    story: Story, run: Run, installed: str
) -> None:
    story(NEW, installed=installed)

    code, printed = run("3.3.2")

    assert code == 1
    assert f"should have Airflow 3.3.2 on Python 3.11, but has {installed}\n" in printed
    assert f"| 3.3.2   | 3.11   | {ALL} | FAILED      | 0      | 0 " in printed


def test_where_no_test_is_named_the_last_lines_of_the_log_say_what_failed(story: Story, run: Run) -> None:
    story(NEW, "\n".join(f"line {number}." for number in range(40)), exit_code=2)

    printed = run("3.3.2")[1]

    assert "\n    line 39.\n" in printed
    assert "line 0." not in printed


def test_tests_that_did_not_run_have_not_passed(story: Story, run: Run) -> None:
    story(NEW, "===== no tests ran in 0.01s =====")

    code, printed = run("3.3.2")

    assert code == 1
    assert "\n    ===== no tests ran in 0.01s =====\n" in printed


def test_the_counts_of_all_suites_are_added_up(story: Story, run: Run) -> None:
    story(NEW, f"{GOOD}\n== 3 passed, 1 skipped, 2 xfailed, 5 warnings in 700.00s (0:11:40) ==")

    assert "| passed      | 10     | 0      | 3 " in run("3.3.2")[1]


def test_every_python_that_is_there_and_supported_runs_all_suites(
    story: Story, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "MATRIX", (Version("3.3.2", ("3.11", "3.12")),))
    monkeypatch.setattr(matrix, "find_python", lambda python: f"/usr/bin/python{python}" if python < "3.13" else None)

    _, printed = run()

    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith("| 3.3.2")]
    assert [suites.rstrip() for _, _, suites, *_ in rows] == [ALL, ALL, ""]


def test_the_suites_and_nothing_of_the_make_that_started_it_reach_make(
    story: Story, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAKEFLAGS", "-j2 AIRFLOW=1.10")
    monkeypatch.setenv("PY_COLORS", "1")  # no line of pytest could be read

    run("3.3.2", "--suites", "test-fast test-e2e")

    first = (tmp_path / "build" / "matrix-3.3.2-python3.11.log").read_text().splitlines()[0]
    assert first == (
        "--keep-going AIRFLOW=3.3.2 REQUIREMENTS=requirements/airflow-3.3.2.txt PYTHON=/usr/bin/python3.11"
        f" VENV={tmp_path}/build/venv-3.3.2-python3.11 test-fast test-e2e; MAKEFLAGS= PY_COLORS=0"
    )


def test_a_target_that_hangs_is_ended_and_costs_its_cell_only(
    story: Story, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_cell, "PATIENCE", 0.5)
    (tmp_path / "hangs").touch()

    code, printed = run("3.3.2", "--suites", "test-fast")

    assert code == 1
    assert " test-fast was told to end after 0.5 s, " in printed
    assert (tmp_path / "ended").exists()


def test_one_that_does_not_listen_is_ended_by_force(
    story: Story, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_cell, "PATIENCE", 0.5)
    monkeypatch.setattr(run_cell, "LAST_SECONDS", 0.5)
    for behaviour in ("hangs", "deaf"):
        (tmp_path / behaviour).touch()

    assert run("3.3.2", "--suites", "test-fast")[0] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_whoever_ends_it_ends_all_that_it_runs_in_order_and_begins_no_more(
    story: Story, tmp_path: Path, number: signal.Signals
) -> None:
    python = "{}.{}".format(*sys.version_info)
    story(NEW, installed=f"Airflow 3.3.2 on Python {python}")
    (tmp_path / "hangs").touch()
    program = (
        "import sys, pathlib; from tests.matrix.__main__ import main; main(sys.argv[2:], pathlib.Path(sys.argv[1]))"
    )
    cells = [f"{version}-python{python}" for version in ("3.3.2", "3.4.0b2")]
    command = [sys.executable, "-c", program, tmp_path / "build", *cells, "--suites", "test-fast"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_until((tmp_path / "waiting").exists, 30, "the cell to wait")
        process.send_signal(number)
        process.communicate(timeout=30)
    finally:
        process.kill()

    assert (tmp_path / "ended").exists()
    assert [log.stem for log in (tmp_path / "build").glob("*.log")] == [f"matrix-{cells[0]}"]


@pytest.mark.parametrize("arguments", [["1.10"], ["--suites", ""], ["--suites", "demo"], ["--at-once", "0"]], ids=str)
def test_what_cannot_be_run_is_refused(story: Story, run: Run, arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(*arguments)
