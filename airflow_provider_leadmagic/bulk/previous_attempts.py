"""Find the bulk job that a previous attempt of a task submitted."""

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

#: Attempts in progress have stored their job under this key: renaming it would lose the job.
_STORE_KEY = "leadmagic_bulk_job"


@dataclass(frozen=True)
class SubmittedJob:
    """
    A job that was submitted.

    :param job_id: The ID that LeadMagic assigned.
    :param idempotency_key: The key it was submitted with.
    :param estimate: Credits that it costs if every row is a hit.
    """

    job_id: str
    idempotency_key: str
    estimate: Decimal

    def save(self, store: TaskStateStore | None) -> None:
        """
        Save the job for later attempts, if Airflow has a state store.

        :param store: The task's state store; None before Airflow 3.3.
        """
        if store is not None:
            store.set(_STORE_KEY, self.to_json())

    @classmethod
    def load(cls, store: TaskStateStore | None, idempotency_key: str) -> Self | None:
        """
        Return the job that a previous attempt saved, or None.

        :param store: The task's state store; None before Airflow 3.3.
        :param idempotency_key: The key of the submission. A job with another key was saved before a clear.
        """
        stored = store.get(_STORE_KEY) if store is not None else None
        job = cls.from_json(stored) if stored else None
        return job if job and job.idempotency_key == idempotency_key else None

    def to_json(self) -> dict[str, str]:
        """Convert the job to a JSON object."""
        return {"job_id": self.job_id, "idempotency_key": self.idempotency_key, "estimate": str(self.estimate)}

    @classmethod
    def from_json(cls, fields: Mapping[str, str]) -> Self:
        """Build the job from the output of :meth:`to_json`, of this version or another."""
        return cls(fields["job_id"], fields["idempotency_key"], Decimal(fields["estimate"]))


class JobSearchResult(NamedTuple):
    """
    The result of a search for the job of a previous attempt.

    :param job: The job to join; None if one has to be submitted.
    :param idempotency_key: The key of that job, or the key to submit with.
    """

    job: SubmittedJob | None
    idempotency_key: str


def list_once(client: LeadMagicClient) -> JobList:
    """
    Return a function that requests LeadMagic's list of jobs on the first call and caches it.

    Use one such function for each search: a later search has to see jobs that were submitted since.

    :param client: A client for the account.
    """
    return cache(lambda: list(client.bulk.list()))


class PreviousAttempts:
    """
    Finds the job of a previous attempt in Airflow's state store, or else in LeadMagic's list of jobs.

    The store is missing before Airflow 3.3, and does not contain the job if the worker was lost right after submitting.

    :param client: A client for the account.
    :param store: The task's state store; None before Airflow 3.3.
    :param task_instance: The task instance of the current attempt.
    """

    def __init__(self, client: LeadMagicClient, store: TaskStateStore | None, task_instance: Any) -> None:
        self._client = client
        self._store = store
        self._task_instance = task_instance

    def find(self, submission: BulkSubmission, jobs: JobList) -> JobSearchResult:
        """
        Find the job to join.

        A canceled job is not joined. An attempt whose job is canceled fails without a retry, so an attempt that finds a
        canceled job can only run because a user cleared the task while it was running.

        :param submission: The submission, to price a job that is not in the state store.
        :param jobs: Returns LeadMagic's list of jobs; called only if needed.
        """
        key = idempotency_key(self._task_instance)
        job = self._find(key, jobs)
        while job is not None and job.is_canceled:
            log.info("Bulk job %s of a previous attempt was canceled; submitting a new one.", job.job_id)
            key = successor(key, job.job_id)
            job = self._find(key, jobs)
        if job is None:
            return JobSearchResult(None, key)
        log.info("Joined bulk job %s, submitted by a previous attempt.", job.job_id)
        stored = SubmittedJob.load(self._store, key)
        return JobSearchResult(stored or SubmittedJob(job.job_id, key, submission.price(self._client)), key)

    def cancel_replaced(self, jobs: JobList) -> None:
        """
        Cancel running jobs that were submitted before the task was cleared: a new job replaces them.

        :param jobs: Returns LeadMagic's list of jobs.
        """
        replaced = [idempotency_key(self._task_instance, before) for before in range(self._task_instance.max_tries)]
        for job in jobs():
            if not job.is_finished and any(was_submitted_with(job.file_name, key) for key in replaced):
                self._client.bulk.cancel(job.job_id)
                log.warning("Canceled bulk job %s because the task was cleared: %s.", job.job_id, job.progress())

    def _find(self, key: str, jobs: JobList) -> BulkJob | None:
        stored = SubmittedJob.load(self._store, key)
        if stored is not None:
            return self._client.bulk.get(stored.job_id)
        return next((job for job in jobs() if was_submitted_with(job.file_name, key)), None)
