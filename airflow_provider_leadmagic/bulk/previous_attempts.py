"""The jobs that earlier tries of a task ordered."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from airflow_provider_leadmagic.api.jobs import BulkJob
from airflow_provider_leadmagic.bulk.submission import idempotency_key, successor, was_submitted_with

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_leadmagic.bulk.submission import BulkSubmission
    from airflow_provider_leadmagic.client import LeadMagicClient
    from airflow_provider_leadmagic.compat.task_state import TaskStateStore

JobList = Callable[[], list[BulkJob]]

log = logging.getLogger(__name__)

#: Renaming it would make tries that are under way forget their job.
_STORE_KEY = "leadmagic_bulk_job"


@dataclass(frozen=True)
class SubmittedJob:
    """
    A job that was ordered.

    :param job_id: Its id.
    :param idempotency_key: The key it was ordered under.
    :param estimate: The most it could cost, as told before it was ordered.
    """

    job_id: str
    idempotency_key: str
    estimate: Decimal

    def save(self, store: TaskStateStore | None) -> None:
        """
        Keep it, where Airflow can.

        :param store: Where; None before Airflow 3.3.
        """
        if store is not None:
            store.set(_STORE_KEY, self.to_json())

    @classmethod
    def load(cls, store: TaskStateStore | None, idempotency_key: str) -> Self | None:
        """
        Find the job that an earlier try kept.

        :param store: Where to look; None before Airflow 3.3.
        :param idempotency_key: The key of the order. What was kept under another is of the time before a clear.
        """
        kept = store.get(_STORE_KEY) if store is not None else None
        record = cls.from_json(kept) if kept else None
        return record if record and record.idempotency_key == idempotency_key else None

    def to_json(self) -> dict[str, str]:
        """Describe it in plain JSON."""
        return {"job_id": self.job_id, "idempotency_key": self.idempotency_key, "estimate": str(self.estimate)}

    @classmethod
    def from_json(cls, fields: Mapping[str, str]) -> Self:
        """Rebuild the record that :meth:`to_json` described, of this version or of another."""
        return cls(fields["job_id"], fields["idempotency_key"], Decimal(fields["estimate"]))


class FoundAttempt(NamedTuple):
    """
    What a search for a previous attempt found.

    :param job: The job to join; None if one has to be submitted.
    :param idempotency_key: The key of that job, or the one to submit under.
    """

    job: SubmittedJob | None
    idempotency_key: str


def list_once(client: LeadMagicClient) -> JobList:
    """
    Return a function that reads LeadMagic's list of jobs when it is first called, and then returns the same list.

    One list serves one search and what follows it. A later search is for what was submitted since.

    :param client: A client for the account.
    """
    return cache(lambda: list(client.bulk.list()))


class PreviousAttempts:
    """
    Finds what previous attempts submitted: by Airflow's state store, or else by LeadMagic's list of jobs.

    The store knows nothing before Airflow 3.3, and when a worker was lost between submitting and noting it.

    :param client: A client for the account.
    :param store: The task's state store; None before Airflow 3.3.
    :param task_instance: The task instance.
    """

    def __init__(self, client: LeadMagicClient, store: TaskStateStore | None, task_instance: Any) -> None:
        self._client = client
        self._store = store
        self._task_instance = task_instance

    def find(self, submission: BulkSubmission, jobs: JobList) -> FoundAttempt:
        """
        Find the job to join.

        A canceled job is not joined: an attempt that sees its job being canceled fails for good, so one that finds it
        canceled runs because a person cleared the task while it was running.

        :param submission: What was submitted.
        :param jobs: LeadMagic's list of jobs, read when needed.
        """
        key = idempotency_key(self._task_instance)
        job = self._find(key, jobs)
        while job is not None and job.is_canceled:
            log.info("Job %s of an earlier try was canceled: a new one is ordered.", job.job_id)
            key = successor(key, job.job_id)
            job = self._find(key, jobs)
        if job is None:
            return FoundAttempt(None, key)
        log.info("Joining job %s, which an earlier try ordered.", job.job_id)
        kept = SubmittedJob.load(self._store, key)
        return FoundAttempt(kept or SubmittedJob(job.job_id, key, submission.price(self._client)), key)

    def cancel_replaced(self, jobs: JobList) -> None:
        """
        Cancel the jobs submitted before a person cleared the task that still run: a new job takes their place.

        :param jobs: LeadMagic's list of jobs.
        """
        replaced = [idempotency_key(self._task_instance, before) for before in range(self._task_instance.max_tries)]
        for job in jobs():
            if not job.is_finished and any(was_submitted_with(job.file_name, key) for key in replaced):
                self._client.bulk.cancel(job.job_id)
                log.warning("Job %s was canceled, as the task was cleared: %s.", job.job_id, job.progress())

    def _find(self, key: str, jobs: JobList) -> BulkJob | None:
        kept = SubmittedJob.load(self._store, key)
        if kept is not None:
            return self._client.bulk.get(kept.job_id)
        return next((job for job in jobs() if was_submitted_with(job.file_name, key)), None)
