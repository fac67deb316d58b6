"""Completed jobs of any size, for tests of large downloads. Rows are generated on read, so they need no memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from airflow_provider_leadmagic.sandbox.bulk.jobs import DoneRow, Job, JobStatus, RowStatus, nth_row
from airflow_provider_leadmagic.sandbox.bulk.submit_request import Submission
from airflow_provider_leadmagic.sandbox.products import EMAIL_FINDER, Row

DOMAIN = "example.com"


class MadeUpRows(Sequence[Row]):
    """The submitted rows of a made-up job, generated on access."""

    def __init__(self, rows: int) -> None:
        self._rows = range(rows)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    @overload
    def __getitem__(self, key: int) -> Row: ...
    @overload
    def __getitem__(self, key: slice) -> list[Row]: ...
    def __getitem__(self, key: int | slice) -> Row | list[Row]:
        """Generate one row or, for a slice, a list of rows."""
        if isinstance(key, slice):
            return [made_up_row(index) for index in self._rows[key]]
        return made_up_row(self._rows[key])


class MadeUpResults(Sequence[DoneRow]):
    """
    The completed rows of a made-up job, generated on access. Every row is a hit.

    :param rows: Number of rows.
    :param at: Completion time of all rows, in seconds since the Unix epoch.
    """

    def __init__(self, rows: int, at: float) -> None:
        self._rows = range(rows)
        self._at = at

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    @overload
    def __getitem__(self, key: int) -> DoneRow: ...
    @overload
    def __getitem__(self, key: slice) -> list[DoneRow]: ...
    def __getitem__(self, key: int | slice) -> DoneRow | list[DoneRow]:
        """Generate one row or, for a slice, a list of rows."""
        if isinstance(key, slice):
            return [self._result(position) for position in self._rows[key]]
        return self._result(self._rows[key])

    def _result(self, position: int) -> DoneRow:
        return DoneRow(nth_row(position, len(self._rows)), self._at, EMAIL_FINDER.price)


class MadeUpJob(Job):
    """A completed job that was never processed or charged. It changes neither the balance nor the ledger."""

    @classmethod
    def of_size(cls, rows: int, at: float) -> MadeUpJob:
        """
        Create a completed job.

        :param rows: Number of rows, at least 1.
        :param at: Time of submission and completion, in seconds since the Unix epoch.
        :raises ValueError: If ``rows`` is below 1.
        """
        if rows < 1:
            raise ValueError(f"rows must be 1 or more; got {rows}")
        submission = Submission(EMAIL_FINDER.name, EMAIL_FINDER, MadeUpRows(rows))
        job = cls(submission, at, status=JobStatus.COMPLETED, credits_consumed=submission.ceiling)
        job.started_at = job.completed_at = job.last_progress_at = at
        return job

    def done(self, status: str | None = None) -> Sequence[DoneRow]:
        """Return the rows with a status: all rows for ``success`` or ``None``, no rows otherwise."""
        matches_all = status in (None, RowStatus.SUCCESS)
        return MadeUpResults(len(self.submission.rows) if matches_all else 0, self.created_at)

    def result_of(self, row: DoneRow) -> dict[str, object]:
        """Generate the lookup result of a row. It has few fields, because there may be millions of rows."""
        return {"email": f"lead.{row.row_index}@{DOMAIN}", "status": "valid"}


def made_up_row(row_index: int) -> Row:
    """Generate the submitted row of an index."""
    return {"full_name": f"Lead {row_index}", "domain": DOMAIN}
