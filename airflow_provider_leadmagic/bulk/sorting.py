"""Sort the results of a job by row on disk: they arrive in order of completion, and there may be millions."""

from __future__ import annotations

import marshal
import sqlite3
import tempfile
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Self

from airflow_provider_leadmagic.bulk.result_rows import RowResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

#: SQLite's page cache, in kB. With less, inserting results in random order is slow.
_CACHE_KB = 32 * 1024


class ResultSorter:
    """
    A temporary SQLite table of results; use it in a ``with`` block.

    Its file is unlinked as soon as it is open, so the disk space is freed however the process ends.
    """

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory(prefix="leadmagic-") as directory:
            self._database = sqlite3.connect(Path(directory) / "results", isolation_level=None)
            # The file does not outlive a crash, so neither journal nor sync is needed, and no second file is opened.
            for setting in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE"):
                self._database.execute(f"PRAGMA {setting}")
            self._database.execute(f"PRAGMA cache_size=-{_CACHE_KB}")
            self._database.execute("CREATE TABLE results (row_index INTEGER PRIMARY KEY, result BLOB)")

    def fill(self, results: Iterable[RowResult]) -> None:
        """
        Replace the content with these results. If there are two for a row, the later one counts.

        :param results: The results in any order; they are iterated once.
        """
        self._database.execute("BEGIN")
        self._database.execute("DELETE FROM results")
        try:
            rows = ((result.row_index, marshal.dumps(tuple(result))) for result in results)
            self._database.executemany("REPLACE INTO results VALUES (?, ?)", rows)
        finally:
            self._database.execute("COMMIT")

    def __len__(self) -> int:
        """Return the number of rows that have a result."""
        return int(self._database.execute("SELECT count(*) FROM results").fetchone()[0])

    def last_index(self) -> int:
        """Return the index of the last row that has a result; -1 if there is none."""
        return int(self._database.execute("SELECT ifnull(max(row_index), -1) FROM results").fetchone()[0])

    def by_row(self) -> Iterator[RowResult | None]:
        """
        Iterate over the results in row order.

        :return: The result of each row, or None. The iterator is infinite, as the number of rows is not known here.
        """
        following = 0
        for row_index, serialized in self._database.execute("SELECT row_index, result FROM results ORDER BY row_index"):
            if row_index > following:
                yield from repeat(None, row_index - following)
            yield RowResult._make(marshal.loads(serialized))  # noqa: S302 - only this object writes the table
            following = row_index + 1
        yield from repeat(None)

    def close(self) -> None:
        """Close the database, which frees the disk space."""
        self._database.close()

    def __enter__(self) -> Self:
        """Use the sorter in a ``with`` block."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the sorter."""
        self.close()
