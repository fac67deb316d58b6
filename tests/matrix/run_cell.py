"""Runs the tests of one cell, in an environment of its own, into a log of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tests.matrix import pytest_log
from tests.matrix.cells import Outcome, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.matrix.cells import Cell

#: Seconds that the suites of a cell may take: far more than any do, so that one which hangs costs its cell only.
PATIENCE = 3600.0
#: Seconds to end in order, before it is by force.
LAST_SECONDS = 60.0

REPOSITORY = Path(__file__).resolve().parents[2]
_WHAT_IS_INSTALLED = """
import sys
from importlib.metadata import version
print(f"Airflow {version('apache-airflow')} on Python {sys.version_info[0]}.{sys.version_info[1]}")
"""


def run_cell(cell: Cell, targets: Sequence[str], build: Path) -> Result:
    """
    Run the tests of a cell.

    :param targets: Of the Makefile.
    :param build: Folder for the environment and the log.
    """
    if not cell.is_supported:
        return Result(cell, Outcome.UNSUPPORTED)
    if not cell.interpreter:
        return Result(cell, Outcome.NO_PYTHON)
    began = time.monotonic()
    log = log_of(cell, build)
    with log.open("w") as output:
        is_well = _installs(cell, build, output) and _make(cell, targets, build, output)
    return _judged(cell, targets, is_well, log.read_text(errors="replace"), (time.monotonic() - began) / 60)


def end_all() -> None:
    """Have every cell that runs end what it has started, and begin no more."""
    _is_over.set()


def log_of(cell: Cell, build: Path) -> Path:
    """Tell where a cell writes to."""
    return build / f"matrix-{cell.name}.log"


def _judged(cell: Cell, targets: Sequence[str], is_well: bool, log: str, minutes: float) -> Result:
    counts = pytest_log.counts(log)
    is_pass = is_well and counts["passed"] > 0  # not by the exit code alone: who runs no test fails none
    failure = Outcome.WARNING if cell.version.may_fail else Outcome.FAILED
    return Result(
        cell,
        Outcome.PASSED if is_pass else failure,
        counts["passed"],
        counts["failed"],
        counts["skipped"],
        minutes,
        tuple(targets),
        () if is_pass else pytest_log.complaints(log),
    )


def _installs(cell: Cell, build: Path, output: IO[str]) -> bool:
    environment = _environment_of(cell, build)
    if not _make(cell, [str(environment / ".ready")], build, output):
        return False
    found = subprocess.run([environment / "bin" / "python", "-c", _WHAT_IS_INSTALLED], capture_output=True, text=True)
    wanted = f"Airflow {cell.version.airflow} on Python {cell.python}"
    if is_right := found.stdout.strip() == wanted:
        return is_right
    output.write(f"{environment} should have {wanted}, but has {found.stdout.strip() or found.stderr.strip()}\n")
    return False


def _make(cell: Cell, targets: Sequence[str], build: Path, output: IO[str]) -> bool:
    command = [
        "make",
        "--keep-going",  # one suite that fails says nothing about the next
        f"AIRFLOW={cell.version.airflow}",
        f"REQUIREMENTS={cell.version.requirements}",
        f"PYTHON={cell.interpreter}",
        f"VENV={_environment_of(cell, build)}",
        *targets,
    ]
    return not _is_over.is_set() and _run(command, output)


def _run(command: Sequence[str], output: IO[str]) -> bool:
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=_variables(),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        process_group=0,  # so that it can be ended with all that it runs
    )
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None:
        if _is_over.wait(0.1) or time.monotonic() > deadline:
            output.write(f"{' '.join(command)} was told to end after {PATIENCE:g} s, or by whoever runs it.\n")
            _end(process)
    return process.returncode == 0


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):  # not SIGINT, to which all that runs in the background is deaf
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(LAST_SECONDS)
            return


_is_over = threading.Event()


def _environment_of(cell: Cell, build: Path) -> Path:
    return build / f"venv-{cell.name}"


def _variables() -> dict[str, str]:
    # The make that started us hands down its own options and variables, which are not meant for these.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return inherited | {"PY_COLORS": "0"}
