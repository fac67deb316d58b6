"""
Run the tests on each Airflow and Python of the matrix, and print a table: ``make test-matrix``.

Each cell has its own environment and log in .build/. A cell that fails does not stop the others.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

#: Versions of Airflow, each with the Python that its end-to-end tests run with. Unit tests run with every Python.
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
ALL_TESTS = ("test", "test-page", "test-slow", "test-load")
NOT_ON_PYTHON_3_13 = ("oldest", "2.11.2", "3.0.6")
MAY_FAIL = ("3.4.0b2",)
CELLS = {
    f"{version}-python{python}": (version, python)
    for version in VERSIONS
    for python in ("3.11", "3.12", "3.13")
    if not (python == "3.13" and version in NOT_ON_PYTHON_3_13)
}
HEAD = "| Airflow | Python | outcome | passed | failed | skipped | minutes |\n|---|---|---|---|---|---|---|"


def requirements(version: str) -> tuple[str, str]:
    """Return the requirements file for a version of the matrix, and the Airflow version that it pins."""
    name, airflow = ("oldest", "2.11.0") if version == "oldest" else (f"airflow-{version}", version)
    return f"requirements/{name}.txt", airflow


def find_python(version: str) -> str | None:
    """Find a Python that runs. pyenv's shims on the PATH run only in folders that select their version."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for path in (f"python{version}", *map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}")))):
        if subprocess.run(["sh", "-c", 'exec "$0" -c ""', path], capture_output=True).returncode == 0:
            return path
    return None


def run(name: str) -> tuple[str, str]:
    """Run the tests of a cell, and return its outcome and its table row."""
    (version, python), log, started = CELLS[name], Path(f".build/matrix-{name}.log"), time.monotonic()
    if not (interpreter := find_python(python)):
        return "absent", f"| {version} | {python} | Python not found | | | | |"
    file, airflow = requirements(version)
    settings = [f"AIRFLOW={airflow}", f"PYTHON={interpreter}", f"REQUIREMENTS={file}", f"VENV=.build/venv-{name}"]
    # The make that runs this module passes its own options and variables on, which are not meant for the tests.
    own = ("MAKE", "MFLAGS", "ONLY", "AT_ONCE")
    variables = {key: value for key, value in os.environ.items() if not key.startswith(own)}
    with log.open("w") as output:
        tests = ALL_TESTS if VERSIONS[version] == python else UNIT_TESTS
        make = ["make", "--keep-going", *tests, *settings]
        code = subprocess.run(make, env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output).returncode
    outcome = "passed" if code == 0 else "failed (allowed)" if version in MAY_FAIL else "FAILED"
    print(f"{name}: {outcome}, see {log}", flush=True)
    totals = " ".join(re.findall(r"^=+ (.* in [\d.]+s)", log.read_text(errors="replace"), re.MULTILINE))
    counts = [sum(map(int, re.findall(rf"(\d+) {word}", totals))) for word in ("passed", "(?:failed|error)", "skipped")]
    cells = (version, python, outcome, *counts, f"{(time.monotonic() - started) / 60:.1f}")
    return outcome, f"| {' | '.join(map(str, cells))} |"


def main(at_once: str = "1", *only: str) -> int:
    """Run all cells, or those named by version (``3.1.8``) or by cell (``oldest-python3.12``)."""
    if unknown := set(only) - {*VERSIONS, *CELLS}:
        sys.exit(f"{', '.join(sorted(unknown))}: not in the matrix; choose from {', '.join(CELLS)}")
    Path(".build").mkdir(exist_ok=True)
    chosen = [name for name, (version, _) in CELLS.items() if not only or {name, version} & set(only)]
    with ThreadPoolExecutor(int(at_once)) as threads:
        outcomes, rows = zip(*threads.map(run, chosen), strict=True)
    print("", HEAD, *rows, sep="\n")
    return int("FAILED" in outcomes or set(outcomes) == {"absent"})


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
