"""A completed job of any size, whose rows are generated while they are read: a million rows take no memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from airflow_provider_leadmagic.sandbox.bulk.jobs import DoneRow, Job, JobStatus, RowStatus, nth_row
from airflow_provider_leadmagic.sandbox.bulk.submission import Submission
from airflow_provider_leadmagic.sandbox.products import EMAIL_FINDER, Row

DOMAIN = "example.com"


class MadeUpRows(Sequence[Row]):
    """The submitted rows."""

    def __init__(self, rows: int) -> None:
        self._rows = range(rows)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._rows)

    @overload
    def __getitem__(self, key: int) -> Row: ...
    @overload
    def __getitem__(self, key: slice) -> list[Row]: ...
    def __getitem__(self, key: int | slice) -> Row | list[Row]:
        """Generate one, or a list of them."""
        if isinstance(key, slice):
            return [made_up_row(index) for index in self._rows[key]]
        return made_up_row(self._rows[key])


class MadeUpResults(Sequence[DoneRow]):
    """
    The completed rows, each of them a hit.

    :param rows: how many there are.
    :param at: when all of them were completed.
    """

    def __init__(self, rows: int, at: float) -> None:
        self._rows = range(rows)
        self._at = at

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._rows)

    @overload
    def __getitem__(self, key: int) -> DoneRow: ...
    @overload
    def __getitem__(self, key: slice) -> list[DoneRow]: ...
    def __getitem__(self, key: int | slice) -> DoneRow | list[DoneRow]:
        """Generate one, or a list of them."""
        if isinstance(key, slice):
            return [self._result(position) for position in self._rows[key]]
        return self._result(self._rows[key])

    def _result(self, position: int) -> DoneRow:
        return DoneRow(nth_row(position, len(self._rows)), self._at, EMAIL_FINDER.price)


class MadeUpJob(Job):
    """A job that never spent credits: it changes neither the balance nor the ledger."""

    @classmethod
    def of_size(cls, rows: int, at: float) -> MadeUpJob:
        """
        Create one.

        :param rows: how many rows it has.
        :param at: when it was submitted and completed.
        :raises ValueError: if it has no rows.
        """
        if rows < 1:
            raise ValueError(f"a job has one row or more, not {rows}")
        submission = Submission(EMAIL_FINDER.name, EMAIL_FINDER, MadeUpRows(rows))
        job = cls(submission, at, status=JobStatus.COMPLETED, credits_consumed=submission.ceiling)
        job.started_at = job.completed_at = job.last_progress_at = at
        return job

    def done(self, status: str | None = None) -> Sequence[DoneRow]:
        """List the completed rows."""
        none_left_out = status in (None, RowStatus.SUCCESS)
        return MadeUpResults(len(self.submission.rows) if none_left_out else 0, self.created_at)

    def result_of(self, row: DoneRow) -> dict[str, object]:
        """Generate what was found, with few fields, as there may be millions of rows."""
        return {"email": f"lead.{row.row_index}@{DOMAIN}", "status": "valid"}


def made_up_row(row_index: int) -> Row:
    """Generate one submitted row."""
    return {"full_name": f"Lead {row_index}", "domain": DOMAIN}
