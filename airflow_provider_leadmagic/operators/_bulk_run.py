"""One attempt of a bulk enrichment task: submit a job or join one, wait for it, write the results."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.products import find_bulk_product
from airflow_provider_leadmagic.api.validation import parse_credits, parse_guard
from airflow_provider_leadmagic.bulk.cancel import RunningTask
from airflow_provider_leadmagic.bulk.output import ResultFiles
from airflow_provider_leadmagic.bulk.previous_attempts import PreviousAttempts, SubmittedJob
from airflow_provider_leadmagic.bulk.progress import JobProgress, job_from
from airflow_provider_leadmagic.bulk.results import write_results
from airflow_provider_leadmagic.bulk.row_checks import CheckedRows, check_rows
from airflow_provider_leadmagic.bulk.rows import NoRowsError
from airflow_provider_leadmagic.bulk.submission import (
    BulkSubmission,
    check_same_rows,
    idempotency_key,
    instance_name,
    price_of,
    was_submitted_with,
)
from airflow_provider_leadmagic.compat.imports import AirflowFailException, AirflowSkipException
from airflow_provider_leadmagic.compat.task_state import is_test, task_state_store
from airflow_provider_leadmagic.decisions.gate import is_sufficient
from airflow_provider_leadmagic.exceptions import (
    InsufficientCreditsError,
    LeadMagicConfigurationError,
    LeadMagicError,
    LeadMagicNotFoundError,
    LeadMagicPermissionError,
)
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from airflow_provider_leadmagic.operators._bulk_reports import task_result
from airflow_provider_leadmagic.operators._bulk_waiting import poll_job
from airflow_provider_leadmagic.triggers.shared_poll import open_client

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from airflow_provider_leadmagic.api.jobs import BulkJob
    from airflow_provider_leadmagic.bulk.cancel import JobCanceller
    from airflow_provider_leadmagic.bulk.row_checks import RowSummary
    from airflow_provider_leadmagic.bulk.rows import RowSource
    from airflow_provider_leadmagic.bulk.submission import BulkRequest
    from airflow_provider_leadmagic.client import LeadMagicClient
    from airflow_provider_leadmagic.compat.imports import Context, Log
    from airflow_provider_leadmagic.operators._bulk_claim import CreditsCheck
    from airflow_provider_leadmagic.operators._bulk_waiting import Wait


#: Statuses of a failed resume after which polling continues: in the meantime, someone else has spent the credits (402)
#: or resumed the job (409).
RESUME_LATER = (402, 409)
_TEST_SPENDS = (
    "This test run spends credits like a DAG run. A second test of the same rows for the same logical date joins "
    "the job of the first; without a date, each test pays. For free tests, point the connection to the sandbox."
)
_UNNAMED = (
    "Set [leadmagic] instance_name: this Airflow needs a name, because its URL is not configured or is local. "
    "Until it has one, a cleared task may fail to cancel its old job, which then keeps running."
)


class BulkAttempt:
    """
    One attempt of a bulk enrichment task.

    :param request: The operator's arguments.
    :param context: The task's context.
    :param wait: Waits on the worker or in the triggerer.
    :param canceller: Remembers the job, to cancel it if a user ends the task.
    :param log: The task's logger.
    :param check_credits: Checks that the credits cover the job, or claims them.
    :param known_jobs: IDs of the task's jobs from before it deferred to wait for credits; None if it has not deferred
        for that.
    """

    def __init__(
        self,
        request: BulkRequest,
        context: Context,
        wait: Wait,
        canceller: JobCanceller,
        log: Log,
        check_credits: CreditsCheck,
        *,
        known_jobs: Collection[str] | None = None,
    ) -> None:
        self._has_waited = known_jobs is not None
        self._known_jobs = known_jobs
        self._check_credits = check_credits
        self._request = request
        self._context = context
        self._wait = wait
        self._canceller = canceller
        self._log = log
        self._conn_id = request.conn_id

    def start(self) -> dict[str, Any]:
        """Join the job of a previous attempt or submit one, wait for it, and write the results."""
        if is_test(self._context):
            self._log.warning(_TEST_SPENDS)
        jobs = None
        if self._may_have_job:  # before the rows are read, so that on_kill can already find the job
            self._canceller.remember_key(self._running_task, idempotency_key(self._context, ""))
            jobs = self._previous_jobs()
        try:
            submission = self._checked_submission()
        except NoRowsError as error:
            if self._request.on_empty == "fail" or self._was_submitted(jobs):
                raise
            raise AirflowSkipException(f"Skipped: {error}") from None
        with self._hook().get_conn() as client:
            submitted_job = self._submit_once(client, submission, jobs)
        return self.wait_and_finish(submitted_job)

    def wait_and_finish(self, submitted_job: SubmittedJob) -> dict[str, Any]:
        """
        Wait for the job and write its results. The first poll is immediate: a small or joined job may have ended.

        :param submitted_job: The job.
        """
        self._canceller.remember_job(self._running_task, submitted_job.job_id)
        report_pause = self._request.resume_when_paused
        progress = JobProgress(self._log, submitted_job.job_id, self._wait.next_poll_in, report_pause=report_pause)
        with self.other_account_refused(submitted_job):
            event = poll_job(self._conn_id, progress)
            job = job_from(event) if event else self._wait_for_job(submitted_job, progress.requested_wait)
        return self.continue_with(job, submitted_job)

    def continue_with(self, job: BulkJob, submitted_job: SubmittedJob) -> dict[str, Any]:
        """
        Continue with a job that has finished or paused: resume it as often as needed, then write the results.

        The job may have paused before the DAG was changed to ``resume_when_paused=False``: it is then not resumed.

        :param job: Its last known state.
        :param submitted_job: The same job, as submitted.
        """
        self._canceller.remember_job(self._running_task, submitted_job.job_id)
        with self.other_account_refused(submitted_job):
            may_resume = self._request.resume_when_paused
            if may_resume and not job.is_finished:
                source, rows = self._read_rows()
                check_same_rows(job, rows.digest, source.name)
                submitted_job = replace(submitted_job, estimate=self._price_of(submitted_job, source, rows))
            while not job.is_finished:
                if may_resume:
                    self._try_to_resume(job, submitted_job)
                job = self._wait_for_job(submitted_job)
            return self._finish(job, submitted_job)

    @contextmanager
    def other_account_refused(self, submitted_job: SubmittedJob) -> Iterator[None]:
        """
        Refuse to continue if the connection was changed to another account, which does not have the job.

        :param submitted_job: The job.
        :raises LeadMagicConfigurationError: If the job belongs to another account. Before Airflow 3.3, raises
            AirflowFailException, because a retry would not know about the job and would submit the rows again.
        """
        try:
            yield
        except (LeadMagicNotFoundError, LeadMagicPermissionError):
            has_store = task_state_store(self._context) is not None
            try:
                with self._hook().get_conn() as client:
                    submitted_job.read(client, self._conn_id, can_be_joined=has_store)
            except LeadMagicConfigurationError as error:
                if not has_store:
                    raise AirflowFailException(str(error)) from None
                raise
            raise

    @property
    def _may_have_job(self) -> bool:
        return self._has_waited or self._context["ti"].try_number > 1 or is_test(self._context)

    @property
    def _running_task(self) -> RunningTask:
        return RunningTask(self._log, self._conn_id, self._context["ti"])

    def _checked_submission(self) -> BulkSubmission:
        request = self._request
        product = find_bulk_product(request.product)
        limit = parse_guard("max_credits", request.max_credits, is_given=request.has_max_credits)
        source, rows = self._read_rows()
        ResultFiles(request.output_path).check_not_input(source)
        reserve = self._minimum_balance_after()
        checked = CheckedRows(source, product.name, rows)
        return BulkSubmission(product.name, checked, rows.count, rows.digest, reserve, limit)

    def _check_output(self, joined: SubmittedJob | None) -> None:
        try:
            ResultFiles(self._request.output_path).check_writable()
        except ValueError as error:
            if joined is None:
                raise
            # The rows of a joined job are paid for: if a file cannot be replaced, they go to a new file next to it.
            self._log.warning("Output may be written under another name: %s", error)

    def _price_of(self, submitted_job: SubmittedJob, source: RowSource, rows: RowSummary) -> Decimal:
        if submitted_job.estimate is not None:
            return submitted_job.estimate
        product = self._request.product
        checked = CheckedRows(source, product, rows, submitted_job.job_id)
        with self._hook().get_conn() as client:
            return price_of(client, product, checked, rows.count)

    def _was_submitted(self, jobs: list[BulkJob] | None) -> bool:
        # A task must not be skipped if a previous attempt has submitted rows: their results are paid for. The key of a
        # test depends on its rows, so without rows it has no job to join.
        if not self._may_have_job or is_test(self._context):
            return False
        key = idempotency_key(self._context, "")
        return jobs is None or any(was_submitted_with(job.file_name, key) for job in jobs)

    def _read_rows(self) -> tuple[RowSource, RowSummary]:
        source = self._request.source()
        return source, check_rows(source, find_bulk_product(self._request.product))

    def _previous_jobs(self) -> list[BulkJob] | None:
        if is_test(self._context):  # the key of a test depends on the rows
            return None
        key = idempotency_key(self._context, "")
        with self._hook().get_conn() as client:
            return self._jobs_in(PreviousAttempts(client, task_state_store(self._context), key, self._conn_id))

    def _jobs_in(self, attempts: PreviousAttempts) -> list[BulkJob] | None:
        return attempts.jobs_of_task() if self._has_waited else attempts.cancel_replaced()

    def _submit_once(
        self, client: LeadMagicClient, submission: BulkSubmission, jobs: list[BulkJob] | None
    ) -> SubmittedJob:
        store = task_state_store(self._context)
        key = idempotency_key(self._context, submission.digest)
        attempts = PreviousAttempts(client, store, key, self._conn_id)
        if is_test(self._context):
            jobs = self._jobs_in(attempts)
        job = attempts.find(submission, jobs) if self._may_have_job else None
        self._check_output(job)
        if job is None:
            if not self._has_waited:
                self._canceller.forget_key()
            if not instance_name():
                self._log.warning(_UNNAMED)
            job = self._submit(client, submission, attempts, jobs)
        self._canceller.remember_job(self._running_task, job.job_id)
        job.save(store)
        return job

    def _submit(
        self,
        client: LeadMagicClient,
        submission: BulkSubmission,
        attempts: PreviousAttempts,
        jobs: list[BulkJob] | None,
    ) -> SubmittedJob:
        if (known := self._known_jobs) is not None:
            attempts.check_not_replaced(jobs or [], known)
        is_uncertain = False
        while True:
            estimate = submission.estimate(client)
            try:
                self._check_credits(client, submission, estimate)
                self._canceller.remember_key(self._running_task, attempts.key)
                return attempts.submit(submission, estimate, may_exist=self._may_have_job or is_uncertain)
            except InsufficientCreditsError as error:
                is_uncertain = is_uncertain or error.maybe_executed
                # An error with a status (402) comes from submit(), which has already searched for an existing job.
                # One without a status comes from the check of the credits, which searches for nothing.
                was_searched = error.status is not None
                found = None
                if not was_searched and (is_uncertain or self._may_have_job):
                    # A job of an earlier request may have spent the credits.
                    found = attempts.find_accepted(submission, estimate)
                if found is None:
                    self._check_may_wait(error, keep_key=is_uncertain)
                    known = attempts.ids_before_wait(jobs) if known is None else known
                    self._wait.to_submit(max(submission.credits_needed(estimate), error.required or Decimal(0)), known)
                    found = attempts.find_after_wait(submission, estimate, known)
            if found is not None:
                return found

    def _check_may_wait(self, error: InsufficientCreditsError, *, keep_key: bool) -> None:
        if not keep_key:
            self._canceller.forget_key()
        if self._request.on_insufficient == "fail":
            raise error
        self._log.info("Bulk job not submitted yet. %s", error)

    def _wait_for_job(self, submitted_job: SubmittedJob, requested_wait: float = 0.0) -> BulkJob:
        report_pause = self._request.resume_when_paused
        return self._wait.for_job(submitted_job, report_pause=report_pause, requested_wait=requested_wait)

    def _try_to_resume(self, job: BulkJob, submitted_job: SubmittedJob) -> None:
        try:
            self._resume_when_covered(job, submitted_job)
        except LeadMagicError as error:
            if not error.transient and error.status not in RESUME_LATER:
                raise
            self._log.warning("Bulk job %s: resume failed, retrying after the next poll: %s", job.job_id, error)

    def _resume_when_covered(self, job: BulkJob, submitted_job: SubmittedJob) -> None:
        needed = job.price_of_remaining_rows(submitted_job.estimate or Decimal(0)) + self._minimum_balance_after()
        with open_client(self._conn_id) as client:
            balance = client.get_credits()
        if not is_sufficient(self._log, balance, needed, self._conn_id, self._wait.next_poll_in()):
            self._wait.to_resume(needed, submitted_job)
        with open_client(self._conn_id) as client:
            if client.bulk.get(submitted_job.job_id).is_paused:  # it may have been resumed elsewhere in the meantime
                client.bulk.resume(submitted_job.job_id)
                self._log.info("Resumed bulk job %s.", submitted_job.job_id)

    def _finish(self, job: BulkJob, submitted_job: SubmittedJob) -> dict[str, Any]:
        if not job.is_completed:
            raise AirflowFailException(
                f"Bulk job {job.job_id} {job.status} at LeadMagic: {job.progress()}. "
                f'LeadMagicHook("{self._conn_id}").bulk.results returns the finished rows. '
                "Clearing the task submits a new job, which charges for them again."
            )
        files = ResultFiles(self._request.output_path, escape_formulas=self._request.escape_formulas)
        source = self._request.source()
        ti = self._context["ti"]
        with self._hook().get_conn() as client:
            written = write_results(
                client,
                job,
                self._request.product,
                source,
                files,
                user_names=self._request.renamed_rows().user_names(source),
                seconds=self._wait.time_left(),
                is_last_attempt=ti.try_number > ti.max_tries,
            )
        return task_result(job, submitted_job, written, files)

    def _minimum_balance_after(self) -> Decimal:
        return parse_credits("minimum_balance_after", self._request.minimum_balance_after)

    def _hook(self) -> LeadMagicHook:
        return LeadMagicHook(self._conn_id)
