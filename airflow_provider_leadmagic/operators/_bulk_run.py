"""One try of a task that orders a bulk job: from the order, or the job it joins, to the files."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.models import json_number, parse_credits
from airflow_provider_leadmagic.api.products import find_bulk_product
from airflow_provider_leadmagic.bulk.output import ResultFiles
from airflow_provider_leadmagic.bulk.previous_attempts import EarlierTries, JobRecord
from airflow_provider_leadmagic.bulk.progress import JobWatch, job_from
from airflow_provider_leadmagic.bulk.results import write_results
from airflow_provider_leadmagic.bulk.row_checks import check_rows
from airflow_provider_leadmagic.bulk.rows import row_source
from airflow_provider_leadmagic.bulk.submission import BulkOrder
from airflow_provider_leadmagic.compat.imports import AirflowFailException
from airflow_provider_leadmagic.compat.task_state import task_state_store
from airflow_provider_leadmagic.decisions.gate import gate_opens
from airflow_provider_leadmagic.exceptions import InsufficientCreditsError, LeadMagicError
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

if TYPE_CHECKING:
    from airflow_provider_leadmagic.api.jobs import BulkJob
    from airflow_provider_leadmagic.client import LeadMagicClient
    from airflow_provider_leadmagic.compat.imports import Context
    from airflow_provider_leadmagic.operators._bulk_waiting import Wait
    from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator


#: Answers to a resume after which another look is all it takes: somebody else spent the credits, or resumed the job.
RESUME_LATER = (402, 409)


class BulkRun:
    """
    One try.

    :param task: The operator, whose templates are rendered.
    :param context: The task's context.
    :param wait: How to wait.
    """

    def __init__(self, task: BulkEnrichmentOperator, context: Context, wait: Wait) -> None:
        self._task = task
        self._context = context
        self._wait = wait
        self._log = task.log
        self._conn_id = task.leadmagic_conn_id

    def start(self) -> dict[str, Any]:
        """Join the job of an earlier try or order one, and see it through."""
        order = self._checked_order()
        with self._hook().get_conn() as client:
            record = self._order_once(client, order)
        return self.see_through(record)

    def see_through(self, record: JobRecord) -> dict[str, Any]:
        """
        Look at a job at once, as a small one, and one that is joined, may be done.

        :param record: The job.
        """
        self._task.hold(self._context, record.job_id)
        watch = JobWatch(self._log, record.job_id, report_pause=self._task.resume_when_paused)
        with self._hook(max_tries=1).get_conn() as client:
            event = watch.look(client)
        job = job_from(event) if event else self._wait_for_job(record, watch.requested_wait)
        return self.go_on(job, record)

    def go_on(self, job: BulkJob, record: JobRecord) -> dict[str, Any]:
        """
        Do what has to be done about a job that has ended or paused.

        :param job: How it was last seen.
        :param record: The job.
        """
        self._task.hold(self._context, record.job_id)
        while not job.is_finished:
            try:
                self._resume_when_covered(job, record)
            except LeadMagicError as error:
                if not error.transient and error.status not in RESUME_LATER:
                    raise
                self._log.warning("Job %s could not be resumed just now. %s", job.job_id, error)
            job = self._wait_for_job(record)
        return self._finish(job, record)

    def _checked_order(self) -> BulkOrder:
        task = self._task
        product = find_bulk_product(task.product)
        limit = None if task.max_credits is None else parse_credits("max_credits", task.max_credits)
        source = row_source(rows=task.rows, input_path=task.input_path)
        rows = check_rows(source, product)
        ResultFiles(task.output_path).check_writable(source)
        return BulkOrder(product.name, source, rows.count, rows.digest, self._minimum_balance_after(), limit)

    def _order_once(self, client: LeadMagicClient, order: BulkOrder) -> JobRecord:
        ti, store = self._context["ti"], task_state_store(self._context)
        tries = EarlierTries(client, store, ti)
        record = tries.find(order) if ti.try_number > 1 else None
        if record is None:
            if ti.try_number > 1:
                tries.cancel_replaced()
            record = self._order(client, order, tries)
        self._task.hold(self._context, record.job_id)
        record.save(store)
        return record

    def _order(self, client: LeadMagicClient, order: BulkOrder, tries: EarlierTries) -> JobRecord:
        while True:
            estimate = order.estimate(client)
            self._task.announce_order(self._context, tries.key)
            try:
                job = order.submit(client, tries.key, estimate, self._conn_id)
            except InsufficientCreditsError as error:
                # LeadMagic may say so of an order that it has taken, when its first answer was lost.
                if error.status is not None and (record := tries.find(order)):
                    return record
                if self._task.on_insufficient == "fail":
                    raise
                self._log.info("Nothing is ordered yet. %s", error)
                self._wait.to_order(max(order.credits_needed(estimate), error.required or Decimal(0)))
            else:
                self._log.info("Ordered job %s of %s rows.", job.job_id, f"{job.total_rows:,}")
                return JobRecord(job.job_id, tries.key, estimate)

    def _wait_for_job(self, record: JobRecord, requested_wait: float = 0.0) -> BulkJob:
        report_pause = self._task.resume_when_paused
        return self._wait.for_job(record, report_pause=report_pause, requested_wait=requested_wait)

    def _resume_when_covered(self, job: BulkJob, record: JobRecord) -> None:
        rest = record.estimate * max(job.total_rows - job.processed, 0) / max(job.total_rows, 1)
        needed = rest + self._minimum_balance_after()
        balance = self._hook().get_credits()
        if not gate_opens(self._log, balance, needed, self._conn_id):
            self._wait.to_resume(needed, record)
        with self._hook().get_conn() as client:
            if client.bulk.get(record.job_id).is_paused:  # or somebody else resumed it meanwhile
                client.bulk.resume(record.job_id)
                self._log.info("Job %s goes on.", record.job_id)

    def _finish(self, job: BulkJob, record: JobRecord) -> dict[str, Any]:
        if not job.is_completed:
            raise AirflowFailException(
                f"Job {job.job_id} is {job.status} at LeadMagic: {job.progress()}. Clearing the task orders a new one, "
                "which pays for these rows again; LeadMagicHook().bulk.results reads those that are done."
            )
        files = ResultFiles(self._task.output_path)
        source = row_source(rows=self._task.rows, input_path=self._task.input_path)
        ti = self._context["ti"]
        with self._hook().get_conn() as client:
            # The last try delivers what is there: nobody comes after it.
            insist = ti.try_number <= ti.max_tries
            written = write_results(client, job, self._task.product, source, files, insist=insist)
        return {
            "job_id": job.job_id,
            "status": job.status,
            "total_rows": job.total_rows,
            "succeeded": written.succeeded,
            "failed": written.failed,
            "skipped": written.skipped,
            "credits_estimated": json_number(record.estimate),
            "credits_consumed": json_number(job.credits_consumed),
            "output_path": files.output_path,
            "errors_path": files.errors_path,
        }

    def _minimum_balance_after(self) -> Decimal:
        return parse_credits("minimum_balance_after", self._task.minimum_balance_after)

    def _hook(self, **arguments: Any) -> LeadMagicHook:
        return LeadMagicHook(self._conn_id, **arguments)
