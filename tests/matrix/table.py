"""The table of all results, in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.matrix.cells import Result

_HEAD = ("Airflow", "Python", "suites", "outcome", "passed", "failed", "skipped", "minutes")


def table(results: Iterable[Result]) -> str:
    """Draw it, in columns that are as wide as they have to be."""
    rows = [_HEAD, *map(_row, results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    return "\n".join(f"| {' | '.join(map(str.ljust, row, widths))} |" for row in rows)


def _row(result: Result) -> tuple[str, ...]:
    version = result.cell.version
    airflow = f"{version.airflow}, {version.pins}" if version.pins else version.airflow
    suites = ", ".join(suite.removeprefix("test-") for suite in result.suites)
    start = (airflow, result.cell.python, suites, result.outcome.value)
    if not result.was_run:
        return (*start, "", "", "", "")
    return (*start, str(result.passed), str(result.failed), str(result.skipped), f"{result.minutes:.1f}")
