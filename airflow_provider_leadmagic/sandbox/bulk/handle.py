"""The part of the handle that is about bulk jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter

    from airflow_provider_leadmagic.sandbox.bulk.reports import BulkJob
    from airflow_provider_leadmagic.sandbox.bulk.store import SubmitNeeds
    from airflow_provider_leadmagic.sandbox.state import SandboxState


class BulkHandle:
    """What tests do with bulk jobs."""

    _state: SandboxState

    def bulk_speed(self, rows_per_second: float | None = None, *, paused_clock: bool = False) -> None:
        """
        Say how fast jobs are from now on.

        :param rows_per_second: of all jobs together; ``None`` is as fast as anybody can look.
        :param paused_clock: whether jobs go on only through :meth:`advance_bulk`.
        :raises ValueError: if the number is not above 0.
        """
        self._state.bulk.change(rows_per_second=rows_per_second, paused_clock=paused_clock)

    def advance_bulk(self, rows: int) -> int:
        """
        Do so many rows at once, of the jobs in the order they came.

        :param rows: 0 only begins a job.
        :return: how many there were to do.
        """
        return self._state.bulk.advance(rows)

    @property
    def bulk_submit_needs(self) -> SubmitNeeds:
        """What must be spendable for a job to be taken: a hit in ``one_row``, or in ``all_rows``."""
        return self._state.bulk.settings.submit_needs

    @bulk_submit_needs.setter
    def bulk_submit_needs(self, needs: SubmitNeeds) -> None:
        self._state.bulk.change(submit_needs=needs)

    @property
    def bulk_jobs(self) -> list[BulkJob]:
        """All jobs as they are now, oldest first."""
        return self._state.bulk.copies()

    def charges_per_row(self, job_id: str) -> Counter[int]:
        """
        Count how often each row of a job was charged: a row that never was is left out.

        :raises ApiError: if there is no such job.
        """
        return self._state.bulk.charges(job_id)

    def submits_of(self, idempotency_key: str) -> int:
        """Count the submits that arrived under a key, refused ones included."""
        return self._state.bulk.submits[idempotency_key]

    def make_up_job(self, rows: int) -> str:
        """
        Make up a finished job, of any size; it costs nothing.

        :param rows: how many rows it has.
        :return: its id.
        """
        return self._state.bulk.make_up(rows)

    def fail_job(self, job_id: str) -> None:
        """
        End a job as LeadMagic does when something breaks on its side.

        :raises ApiError: if there is no such job, or it has ended.
        """
        self._state.bulk.fail(job_id)
