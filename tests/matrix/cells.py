"""One Airflow on one Python, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tests.matrix.versions import PYTHONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.matrix.versions import Version


@dataclass(frozen=True)
class Cell:
    """
    One Airflow on one Python.

    :param interpreter: Path of that Python; None where this machine has none.
    """

    version: Version
    python: str
    interpreter: str | None = None

    @property
    def name(self) -> str:
        """Name it, for its log, its environment and the command line."""
        return f"{self.version.name}-python{self.python}"

    @property
    def is_supported(self) -> bool:
        """Tell whether this Airflow claims to run on this Python."""
        return self.python in self.version.pythons


class Outcome(StrEnum):
    """What became of a cell; the values stand in the table."""

    PASSED = "passed"
    FAILED = "FAILED"
    WARNING = "failed (allowed)"
    NO_PYTHON = "Python absent"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True)
class Result:
    """
    What became of a cell.

    :param suites: What was run in it.
    :param details: For whoever has to mend it: the names of the failed tests, or the last lines of the log.
    """

    cell: Cell
    outcome: Outcome
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    minutes: float = 0.0
    suites: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    @property
    def was_run(self) -> bool:
        """Tell whether there was anything to run it with."""
        return self.outcome not in (Outcome.NO_PYTHON, Outcome.UNSUPPORTED)


def all_cells(versions: Iterable[Version], find_python: Callable[[str], str | None]) -> list[Cell]:
    """Put every version on every Python."""
    interpreters = {python: find_python(python) for python in PYTHONS}
    return [Cell(version, python, path) for version in versions for python, path in interpreters.items()]


def choose(cells: Sequence[Cell], wanted: Sequence[str]) -> list[Cell]:
    """
    Choose the cells that were asked for.

    :param wanted: Names of versions or of cells; none means all.
    :raises ValueError: If there is no such version and no such cell.
    """
    versions = list(dict.fromkeys(cell.version.name for cell in cells))
    if unknown := [name for name in wanted if name not in {*versions, *(cell.name for cell in cells)}]:
        known = f"{', '.join(versions)}, and cells such as {cells[0].name}"
        raise ValueError(f"there is no {', '.join(unknown)} in the matrix; known are {known}")
    return [cell for cell in cells if not wanted or cell.version.name in wanted or cell.name in wanted]


def shortcomings(results: Sequence[Result]) -> list[str]:
    """Tell why this is not a pass: cells that failed, and versions that ran on no Python at all."""
    failed = [f"{result.cell.name} failed" for result in results if result.outcome is Outcome.FAILED]
    tried = {result.cell.version for result in results if result.was_run}
    required = {result.cell.version: None for result in results if not result.cell.version.may_fail}
    return failed + [f"{version.name} ran on no Python" for version in required if version not in tried]
