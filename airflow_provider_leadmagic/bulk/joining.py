"""The jobs that earlier tries of a task ordered."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.bulk.idempotency import idempotency_key, successor
from airflow_provider_leadmagic.bulk.job_name import is_order
from airflow_provider_leadmagic.bulk.record import JobRecord

if TYPE_CHECKING:
    from airflow_provider_leadmagic.api.jobs import BulkJob
    from airflow_provider_leadmagic.bulk.order import BulkOrder
    from airflow_provider_leadmagic.client import LeadMagicClient
    from airflow_provider_leadmagic.compat.task_state import TaskStateStore

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
                self._client.cancel_bulk_job(job.job_id)
                log.warning("Job %s was canceled, as the task was cleared: %s.", job.job_id, job.progress())

    def _find(self) -> BulkJob | None:
        kept = JobRecord.load(self._store, self.key)
        if kept is not None:
            return self._client.get_bulk_job(kept.job_id)
        return next((job for job in self._jobs if is_order(job.file_name, self.key)), None)

    def _forget_jobs(self) -> None:
        # One list serves one search and what follows it; a later search is for what was ordered since.
        self.__dict__.pop("_jobs", None)

    @cached_property
    def _jobs(self) -> list[BulkJob]:
        return list(self._client.list_bulk_jobs())
