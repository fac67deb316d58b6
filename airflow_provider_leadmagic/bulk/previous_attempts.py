"""The jobs that earlier tries of a task ordered."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_leadmagic.bulk.submission import idempotency_key, is_order, successor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_leadmagic.api.jobs import BulkJob
    from airflow_provider_leadmagic.bulk.submission import BulkOrder
    from airflow_provider_leadmagic.client import LeadMagicClient
    from airflow_provider_leadmagic.compat.task_state import TaskStateStore

#: Renaming it would make tries that are under way forget their job.
_STORE_KEY = "leadmagic_bulk_job"


@dataclass(frozen=True)
class JobRecord:
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


log = logging.getLogger(__name__)


class EarlierTries:
    """
    Finds what earlier tries ordered: by Airflow's state store, or else by LeadMagic's list of jobs.

    The store knows nothing before Airflow 3.3, and when a worker was lost between ordering and noting it.

    :param client: Whom to ask.
    :param store: The task's state store; None before Airflow 3.3.
    :param task_instance: The task instance.
    """

    def __init__(self, client: LeadMagicClient, store: TaskStateStore | None, task_instance: Any) -> None:
        self._client = client
        self._store = store
        self._task_instance = task_instance
        #: Under which to order, if nothing is found.
        self.key = idempotency_key(task_instance)

    def find(self, order: BulkOrder) -> JobRecord | None:
        """
        Find the job to join.

        A job that was canceled is none: a try that sees its job being canceled fails for good, so one that finds it
        canceled runs because somebody cleared the task while it was running.

        :param order: What was ordered.
        :return: The job; None if it has to be ordered, under :attr:`key`.
        """
        self._forget_jobs()
        job = self._find()
        while job is not None and job.is_canceled:
            log.info("Job %s of an earlier try was canceled: a new one is ordered.", job.job_id)
            self.key = successor(self.key, job.job_id)
            job = self._find()
        if job is None:
            return None
        log.info("Joining job %s, which an earlier try ordered.", job.job_id)
        kept = JobRecord.load(self._store, self.key)
        return kept or JobRecord(job.job_id, self.key, order.price(self._client))

    def cancel_replaced(self) -> None:
        """Cancel what was ordered before a person cleared the task, and is still going: a new job takes its place."""
        replaced = [idempotency_key(self._task_instance, before) for before in range(self._task_instance.max_tries)]
        for job in self._jobs:
            if not job.is_finished and any(is_order(job.file_name, key) for key in replaced):
                self._client.bulk.cancel(job.job_id)
                log.warning("Job %s was canceled, as the task was cleared: %s.", job.job_id, job.progress())

    def _find(self) -> BulkJob | None:
        kept = JobRecord.load(self._store, self.key)
        if kept is not None:
            return self._client.bulk.get(kept.job_id)
        return next((job for job in self._jobs if is_order(job.file_name, self.key)), None)

    def _forget_jobs(self) -> None:
        # One list serves one search and what follows it; a later search is for what was ordered since.
        self.__dict__.pop("_jobs", None)

    @cached_property
    def _jobs(self) -> list[BulkJob]:
        return list(self._client.bulk.list())
