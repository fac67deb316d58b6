"""The order in which rows are done: never the order in which they were submitted, and always the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS = 4


def completion_order(first: int, rows: int) -> Iterator[int]:
    """
    List the rows as they are done: by the handful, the last of each handful first.

    :param first: the first row to do.
    :param rows: how many rows there are.
    """
    for start in range(first, rows, WORKERS):
        yield from reversed(range(start, min(start + WORKERS, rows)))


def nth_row(position: int, rows: int) -> int:
    """Find the row that is done as the n-th, counted from 0, of a job that begins with its first row."""
    start = position - position % WORKERS
    return start + min(start + WORKERS, rows) - 1 - position
