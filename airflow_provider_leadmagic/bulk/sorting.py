"""Sort the results of a job by row, on disk: they arrive in order of completion, and there may be millions."""

from __future__ import annotations

import marshal
import sqlite3
import tempfile
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Self

from airflow_provider_leadmagic.api.text import temporary_file_errors
from airflow_provider_leadmagic.bulk.result_rows import SKIPPED, UNFINISHED, RowResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

#: SQLite's page cache, in kB. With less, inserting results in random order is slow.
_CACHE_KB = 32 * 1024

_TABLES = """
CREATE TABLE results (row_index INTEGER PRIMARY KEY, result BLOB, is_skipped INTEGER);
CREATE TABLE earlier (row_index INTEGER, result BLOB);
CREATE INDEX earlier_by_row ON earlier (row_index);
CREATE TRIGGER keep_earlier BEFORE INSERT ON results
WHEN EXISTS (SELECT 1 FROM results WHERE row_index = NEW.row_index AND result <> NEW.result)
BEGIN INSERT INTO earlier SELECT row_index, result FROM results WHERE row_index = NEW.row_index; END;
CREATE TABLE suspects (key BLOB, row_index INTEGER);
CREATE INDEX suspects_by_key ON suspects (key);
CREATE TABLE doubtful (row_index INTEGER PRIMARY KEY);
"""


class ResultSorter:
    """
    A temporary SQLite table of results; use it in a ``with`` block.

    Its file is unlinked as soon as it is open, so the disk space is freed however the process ends.
    """

    def __init__(self) -> None:
        with (
            temporary_file_errors(),
            temporary_file_errors(sqlite3.Error),
            tempfile.TemporaryDirectory(prefix="leadmagic-") as directory,
        ):
            self._database = sqlite3.connect(Path(directory) / "results", isolation_level=None)
            # The file does not outlive a crash, so it needs no sync and no journal, which would be a second file.
            for setting in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE"):
                self._database.execute(f"PRAGMA {setting}")
            self._database.execute(f"PRAGMA cache_size=-{_CACHE_KB}")
            self._database.executescript(_TABLES)

    def fill(self, results: Iterable[RowResult], *, keep: bool = False) -> None:
        """
        Replace the content with these results. Of different results of one row, the last one replaces the others, which
        are kept as :meth:`earlier`.

        :param results: The results in any order; they are iterated once. Unfinished ones are ignored.
        :param keep: Whether to add the results to the content instead.
        """
        rows = (
            (result.row_index, marshal.dumps(tuple(result)), result.outcome == SKIPPED)
            for result in results
            if result.outcome != UNFINISHED
        )
        with temporary_file_errors(sqlite3.Error):
            self._database.execute("BEGIN")
            if not keep:
                self._database.execute("DELETE FROM results")
                self._database.execute("DELETE FROM earlier")
            try:
                self._database.executemany("REPLACE INTO results VALUES (?, ?, ?)", rows)
            finally:
                if self._database.in_transaction:  # SQLite ends the transaction itself if the disk is full
                    self._database.execute("COMMIT")

    def __len__(self) -> int:
        """Return the number of rows that have a result."""
        return self._number("SELECT count(*) FROM results")

    def skipped(self) -> int:
        """Return the number of rows that were skipped according to their results."""
        return self._number("SELECT count(*) FROM results WHERE is_skipped")

    def last_index(self) -> int:
        """Return the index of the last row that has a result; -1 if there is none."""
        return self._number("SELECT ifnull(max(row_index), -1) FROM results")

    def by_row(self) -> Iterator[RowResult | None]:
        """
        Iterate over the results in row order.

        :return: The result of each row, or None. The iterator is infinite, as the number of rows is not known here.
        """
        following = 0
        for row_index, serialized in self._database.execute("SELECT row_index, result FROM results ORDER BY row_index"):
            if row_index > following:
                yield from repeat(None, row_index - following)
            yield _deserialized(serialized)
            following = row_index + 1
        yield from repeat(None)

    def has_earlier(self) -> bool:
        """Return whether any row has two different results."""
        return self._number("SELECT EXISTS (SELECT 1 FROM earlier)") > 0

    def earlier(self, row_index: int) -> list[RowResult]:
        """Return the earlier results of a row, which were replaced, oldest first."""
        rows = self._database.execute("SELECT result FROM earlier WHERE row_index = ? ORDER BY rowid", (row_index,))
        return [_deserialized(serialized) for (serialized,) in rows]

    def suspect(self, row_index: int, key: bytes) -> None:
        """
        Record that the result of a row may describe another row.

        :param row_index: The index of the row.
        :param key: Digest of some fields of the row that the result describes.
        """
        self._database.execute("INSERT INTO suspects VALUES (?, ?)", (key, row_index))

    def confirm_suspects(self, key: bytes) -> None:
        """
        Mark as doubtful each suspect result with this key. LeadMagic listed such a result under one row, but it
        contains the fields of another row of the input, from which the key was calculated.

        :param key: Digest of some fields of a row of the input, calculated as for :meth:`suspect`.
        """
        self._database.execute("INSERT OR IGNORE INTO doubtful SELECT row_index FROM suspects WHERE key = ?", (key,))

    def doubt(self, row_index: int) -> None:
        """Mark the result of a row as doubtful."""
        self._database.execute("INSERT OR IGNORE INTO doubtful VALUES (?)", (row_index,))

    def doubtful(self) -> int:
        """Return the number of doubtful results."""
        return self._number("SELECT count(*) FROM doubtful")

    def is_doubtful(self, row_index: int) -> bool:
        """Return whether the result of a row is doubtful."""
        return self._number("SELECT EXISTS (SELECT 1 FROM doubtful WHERE row_index = ?)", row_index) > 0

    def _number(self, query: str, *parameters: int) -> int:
        return int(self._database.execute(query, parameters).fetchone()[0])

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


def _deserialized(result: bytes) -> RowResult:
    return RowResult._make(marshal.loads(result))  # noqa: S302 - only this module writes the table
