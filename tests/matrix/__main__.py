"""
Runs the tests on every supported Airflow and Python: ``make test-matrix``.

It needs nothing but Python and make; each cell of the matrix sets up an environment of its own.
"""

from __future__ import annotations

import argparse
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.matrix.cells import all_cells, choose, shortcomings
from tests.matrix.pythons import find_python
from tests.matrix.run_cell import REPOSITORY, end_all, log_of, run_cell
from tests.matrix.table import table
from tests.matrix.versions import MATRIX

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.matrix.cells import Cell, Result

SUITES = ("test-fast", "test-hostile", "test-e2e")


def main(arguments: Sequence[str] | None = None, build: Path = REPOSITORY / ".build") -> int:
    """Run what was asked for, print what came of it, and return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        cells = choose(all_cells(MATRIX, find_python), options.names)
    except ValueError as error:
        parser.error(str(error))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # whoever ends us leaves nothing running
        signal.signal(number, signal.default_int_handler)
    build.mkdir(exist_ok=True)
    results = run_all(cells, options.suites, options.at_once, build)
    print("", table(results), sep="\n", flush=True)
    problems = shortcomings(results)
    print("", *problems or ["All that must pass passed."], sep="\n")
    return 1 if problems else 0


def run_all(cells: Sequence[Cell], suites: Sequence[str], at_once: int, build: Path) -> list[Result]:
    """Run all cells, whatever becomes of any of them, and say how it goes."""

    def run(cell: Cell) -> Result:
        if cell.is_supported and cell.interpreter:
            print(f"{cell.name}: {', '.join(suites)}; see {log_of(cell, build)}", flush=True)
        result = run_cell(cell, suites, build)
        print(_told(result), flush=True)
        return result

    with ThreadPoolExecutor(at_once) as threads:
        try:
            return list(threads.map(run, cells))
        except KeyboardInterrupt:
            end_all()
            raise


def _told(result: Result) -> str:
    line = f"{result.cell.name}: {result.outcome.value}"
    if not result.was_run:
        return line
    line += f" after {result.minutes:.1f} min, {result.passed} passed, {result.failed} failed, {result.skipped} skipped"
    return "\n    ".join([line, *result.details])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make test-matrix", description=__doc__)
    parser.add_argument("names", nargs="*", help="what to run, such as 3.1.8, oldest or 3.1.8-python3.12 (all)")
    parser.add_argument("--suites", type=_suites, default=SUITES, help=f"which of {', '.join(SUITES)} (all)")
    parser.add_argument(
        "--at-once", type=int, default=1, choices=range(1, 9), help="how many cells run at once (%(default)s)"
    )
    return parser


def _suites(text: str) -> list[str]:
    chosen = text.split()
    if not chosen or not set(chosen) <= set(SUITES):
        raise argparse.ArgumentTypeError(f"must be some of {', '.join(SUITES)}; got {text!r}")
    return chosen


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Interrupted: all that was running has been told to end.")
