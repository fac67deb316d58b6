"""
Run the tests on each Airflow and Python of the matrix, and print a table: ``make test-matrix``.

Each cell has its own environment and log in .build/. A cell that fails does not stop the others.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Versions of Airflow, each with the Python for its end-to-end tests, which use another one if that is not installed.
#: Unit tests run with every Python.
VERSIONS = {
    "oldest": "3.11",
    "2.11.2": "3.12",
    "3.0.6": "3.11",
    "3.1.8": "3.12",
    "3.2.2": "3.13",
    "3.3.2": "3.13",
    "3.4.0b2": "3.12",
}
UNIT_TESTS = ("test-unit",)
ALL_TESTS = ("test", "test-page", "test-slow")
#: These run after all other tests, one cell at a time, because they measure what processes cost.
TESTS_ALONE = ("test-load",)
NOT_ON_PYTHON_3_13 = ("oldest", "2.11.2", "3.0.6")
MAY_FAIL = ("3.4.0b2",)
CELLS = {
    f"{version}-python{python}": (version, python)
    for version in VERSIONS
    for python in ("3.11", "3.12", "3.13")
    if not (python == "3.13" and version in NOT_ON_PYTHON_3_13)
}
HEAD = "| Airflow | Python | tests | outcome | passed | failed | skipped | minutes |\n|---|---|---|---|---|---|---|---|"


def requirements(version: str) -> tuple[str, str]:
    """Return the requirements file for a version of the matrix, and the Airflow version that it pins."""
    name, airflow = ("oldest", "2.11.0") if version == "oldest" else (f"airflow-{version}", version)
    return f"requirements/{name}.txt", airflow


@cache
def find_python(version: str) -> str | None:
    """Find a Python that runs. pyenv's shims on the PATH run only in folders that select their version."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for path in (f"python{version}", *map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}")))):
        if subprocess.run(["sh", "-c", 'exec "$0" -c ""', path], capture_output=True).returncode == 0:
            return path
    return None


def run(name: str, targets: Sequence[str]) -> bool:
    """Run targets of the Makefile in the environment of a cell, append to its log, and return whether they passed."""
    version, python = CELLS[name]
    file, airflow = requirements(version)
    python_path = f"PYTHON={find_python(python)}"
    settings = [f"AIRFLOW={airflow}", python_path, f"REQUIREMENTS={file}", f"VENV=.build/venv-{name}"]
    # The make that runs this module passes its own options and variables on, which are not meant for the tests.
    own = ("MAKE", "MFLAGS", "ONLY", "AT_ONCE")
    variables = {key: value for key, value in os.environ.items() if not key.startswith(own)}
    with log_of(name).open("a") as log:
        make = ["make", "--keep-going", *targets, *settings]
        code = subprocess.run(make, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode
    print(f"{name}: {' '.join(targets)} {'passed' if code == 0 else 'failed'}, see {log_of(name)}", flush=True)
    return code == 0


def log_of(name: str) -> Path:
    """Return the path of the log of a cell."""
    return Path(f".build/matrix-{name}.log")


def outcome_of(name: str, passed: bool) -> str:
    """Return the outcome of a cell."""
    if passed:
        return "passed"
    return "failed (allowed)" if CELLS[name][0] in MAY_FAIL else "FAILED"


def whole_cells(pythons: set[str]) -> list[str]:
    """For each Airflow, return the one cell that runs all tests, given the Pythons that are installed."""
    cells = []
    for version, preferred in VERSIONS.items():
        supported = [python for each, python in CELLS.values() if each == version and python in pythons]
        cells += [f"{version}-python{preferred if preferred in supported else python}" for python in supported[:1]]
    return cells


def row_of(name: str, has_all_tests: bool, outcome: str) -> str:
    """Return the table row of a cell, with the numbers and the minutes that pytest has printed to its log."""
    totals = re.findall(r"^=+ (.*) in ([\d.]+)s", log_of(name).read_text(errors="replace"), re.MULTILINE)
    counts = [
        sum(int(count) for total, _ in totals for count in re.findall(rf"(\d+) {word}", total))
        for word in ("passed", "(?:failed|error)", "skipped")
    ]
    minutes = sum(float(seconds) for _, seconds in totals) / 60
    tests = "all" if has_all_tests else "unit"
    return f"| {' | '.join(map(str, (*CELLS[name], tests, outcome, *counts, f'{minutes:.1f}')))} |"


def run_all(names: list[str], whole: list[str], at_once: int) -> list[str]:
    """
    Run cells, and return their outcomes.

    :param names: The cells.
    :param whole: Those that run all tests.
    :param at_once: Number of cells to run in parallel.
    """
    for name in names:
        log_of(name).unlink(missing_ok=True)
    targets = [ALL_TESTS if name in whole else UNIT_TESTS for name in names]
    with ThreadPoolExecutor(at_once) as threads:
        passed = dict(zip(names, threads.map(run, names, targets), strict=True))
    for name in whole:
        passed[name] &= run(name, TESTS_ALONE)
    return [outcome_of(name, passed[name]) for name in names]


def main(at_once: str = "1", *only: str) -> int:
    """Run all cells, or those named by version (``3.1.8``) or by cell (``oldest-python3.12``)."""
    if unknown := set(only) - {*VERSIONS, *CELLS}:
        sys.exit(f"{', '.join(sorted(unknown))}: not in the matrix; choose from {', '.join(CELLS)}")
    Path(".build").mkdir(exist_ok=True)
    chosen = [name for name, (version, _) in CELLS.items() if not only or {name, version} & set(only)]
    pythons = {python for _, python in CELLS.values() if find_python(python)}
    present = [name for name in chosen if CELLS[name][1] in pythons]
    whole = [name for name in whole_cells(pythons) if name in present]
    outcomes = run_all(present, whole, int(at_once))
    rows = [row_of(name, name in whole, outcome) for name, outcome in zip(present, outcomes, strict=True)]
    absent = [f"{name}: its Python was not found" for name in chosen if name not in present]
    print("", HEAD, *rows, *absent, sep="\n")
    return int("FAILED" in outcomes or not present)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
