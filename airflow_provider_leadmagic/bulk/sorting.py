"""Results are sorted on disk: they come in the order in which they were done, and there may be millions."""

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

#: Memory for the part that is being sorted, in kB: where results come wildly out of order, less of it is slow.
_CACHE_KB = 32 * 1024


class ResultSorter:
    """
    Results on disk, in the folder for temporary files; use it in a ``with`` block.

    Its file has no name: whatever ends the process ends the file.
    """

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory(prefix="leadmagic-") as folder:
            self._database = sqlite3.connect(Path(folder) / "results", isolation_level=None)
            # Nothing is kept of it after a crash, so nothing has to be safe from one, and no second file is opened.
            for setting in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE"):
                self._database.execute(f"PRAGMA {setting}")
            self._database.execute(f"PRAGMA cache_size=-{_CACHE_KB}")
            self._database.execute("CREATE TABLE results (row_index INTEGER PRIMARY KEY, result BLOB)")

    def fill(self, results: Iterable[RowResult]) -> None:
        """
        Take in results, in any order, and forget what was there. Of two for one row the later one counts.

        :param results: They are read once.
        """
        self._database.execute("BEGIN")
        self._database.execute("DELETE FROM results")
        try:
            records = ((result.row_index, marshal.dumps(tuple(result))) for result in results)
            self._database.executemany("REPLACE INTO results VALUES (?, ?)", records)
        finally:
            self._database.execute("COMMIT")

    def __len__(self) -> int:
        """Count the rows that have a result."""
        return int(self._database.execute("SELECT count(*) FROM results").fetchone()[0])

    def last_index(self) -> int:
        """Find the last row that has a result; -1 if none has."""
        return int(self._database.execute("SELECT ifnull(max(row_index), -1) FROM results").fetchone()[0])

    def by_row(self) -> Iterator[RowResult | None]:
        """
        Read the results by the order of the rows.

        :return: For each row its result, or None; without end, as the spool does not know how many rows there are.
        """
        following = 0
        for row_index, record in self._database.execute("SELECT row_index, result FROM results ORDER BY row_index"):
            if row_index > following:
                yield from repeat(None, row_index - following)
            yield RowResult._make(marshal.loads(record))  # noqa: S302 - nobody but this object wrote it
            following = row_index + 1
        yield from repeat(None)

    def close(self) -> None:
        """Remove it."""
        self._database.close()

    def __enter__(self) -> Self:
        """Use the spool in a ``with`` block that removes it."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove it."""
        self.close()
