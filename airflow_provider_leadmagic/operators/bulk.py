"""Operator that enriches records with one LeadMagic bulk job, submitted once even if Airflow processes are killed."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow_provider_leadmagic.api.validation import (
    as_seconds,
    check_choice,
    check_delimiter,
    check_flag,
    check_seconds,
)
from airflow_provider_leadmagic.bulk.cancel import JobCanceller
from airflow_provider_leadmagic.compat import deferral
from airflow_provider_leadmagic.compat.imports import NOT_GIVEN, BaseOperator, Guard, conf, path_text
from airflow_provider_leadmagic.compat.task_state import can_claim
from airflow_provider_leadmagic.decisions.events import is_wake, report_from, seen_from
from airflow_provider_leadmagic.links import CREDITS_LINKS

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_leadmagic.bulk.previous_attempts import SubmittedJob
    from airflow_provider_leadmagic.bulk.submission import BulkRequest
    from airflow_provider_leadmagic.compat.imports import Context, ObjectStoragePath
    from airflow_provider_leadmagic.decisions.claims import Seen
    from airflow_provider_leadmagic.operators._bulk_claim import CreditsCheck
    from airflow_provider_leadmagic.operators._bulk_run import BulkAttempt
    from airflow_provider_leadmagic.operators._bulk_waiting import Wait

OnInsufficient = Literal["wait", "fail"]
OnEmpty = Literal["fail", "skip"]
OnInvalidRows = Literal["fail", "skip"]
#: LeadMagic's recommended minimum of seconds between polls of a job.
POLITE_POLL_INTERVAL = 45.0

# Modules that import the HTTP client are imported inside methods: parsing a DAG file does not need them.


class BulkEnrichmentOperator(BaseOperator):
    """
    Enrich records with one bulk job: validate and price them, wait for credits, submit once, write the results.

    Before any credits are spent, the operator checks the rows, the files and the balance, and requests the price, which
    is free. The idempotency key of the job is derived from Airflow's instance name, DAG, run, task, map index and
    ``max_tries``: a retry, even after a lost worker or triggerer, joins the existing job. Only clearing the task
    submits a new one.

    Returns ``{"job_id", "status", "total_rows", "succeeded", "failed", "skipped", "credits_estimated",
    "credits_consumed", "output_path", "errors_path"}`` as XCom. A second XCom with the key ``leadmagic``, the spending
    record, is ``{"job_id", "conn_id", "product", "credits", "rows", "succeeded", "failed", "skipped"}``. The events of
    the task's outlet assets contain it too, as ``extra["leadmagic"]``.

    :param product: LeadMagic's name of the product, such as ``email_finder``. Templated.
    :param rows: The records: a list of dicts with the same keys, or its JSON text. Templated; may be the output of
        another task. Exactly one of ``rows`` and ``input_path`` must be given.
    :param input_path: A CSV or JSONL file with the records, optionally compressed with gzip: a local path, or a URL for
        ``ObjectStoragePath``. Templated.
    :param delimiter: The character between the cells of a CSV file. By default, the first of comma, semicolon, tab
        and ``|`` that occurs in the header.
    :param column_mapping: LeadMagic's field for columns with another name: ``{"Work email": "email"}``. A column whose
        name differs from a required field only in case needs no entry. The output files keep the user's names.
        Templated.
    :param on_empty: What to do if there are no records: ``fail`` (default) or ``skip`` the task.
    :param output_path: The output file, CSV or JSONL by its suffix. Rows keep their order and columns; LeadMagic's
        fields are added with the prefix ``lm_``. Failed and skipped rows are written to a second file with ``.errors``
        in its name. Both files appear when they are complete. Templated.
    :param on_invalid_rows: What to do if a record cannot be submitted, for example without a required field: ``fail``
        (default) before anything is spent, or ``skip`` it. Skipped records and the reasons are in the second file.
    :param escape_formulas: If True (default), a text in a CSV column whose name starts with ``lm_`` gets a leading
        apostrophe if a spreadsheet would evaluate it as a formula. Numbers, phone numbers, other columns and JSONL
        files are not changed.
    :param minimum_balance_after: Credits that must remain even if every row is a hit; 0 by default. Templated.
    :param max_credits: Fail without submitting if the job could cost more. No limit by default; but if a template or
        the output of another task yields no value, the task fails. Templated.
    :param on_insufficient: What to do if the balance does not cover the job: ``wait`` (default) or ``fail``.
    :param resume_when_paused: LeadMagic pauses a job when the credits run out. By default, wait for the credits that
        the remaining rows need and resume the job; if False, wait until a user resumes it.
    :param deferrable: Wait in the triggerer. The default is ``[operators] default_deferrable``.
    :param poll_interval: Seconds, or timedelta, between polls of the job or the balance; 60 by default. For a
        job, LeadMagic asks for at least 45.
    :param claim_pool: Name of an Airflow pool with one slot, in which the task runs. The task claims the price of the
        job, so that other tasks with the same ``claim_pool`` cannot count on these credits. The task must be
        deferrable. By default it claims nothing.
    :param claim_settle: Seconds, or timedelta, that the claim still counts after the task has ended; 60 by default.
    :param timeout: Seconds, or timedelta, that one attempt waits in total, for credits and for the job; 7 days by
        default. If it comes from ``default_args``, the log warns about it.
    :param leadmagic_conn_id: The connection, ``leadmagic_default`` by default. Templated.
    :raises ValueError: If an argument, a row or a file is invalid; the message names it. No credits were spent, unless
        the message names a bulk job, which the next attempt joins.
    :raises CreditsLimitError: If the job could cost more than ``max_credits``. No credits were spent.
    :raises InsufficientCreditsError: If the balance does not cover the job and ``on_insufficient`` is ``fail``.
    :raises ClaimsError: If the claims cannot be read or written. No credits were spent.
    :raises LeadMagicTimeoutError: When ``timeout`` is reached. The job keeps running, and the next attempt joins it.
    :raises AirflowFailException: If a retry would not help: the job failed or was canceled at LeadMagic, or the
        connection was changed to another account (on Airflow 2.11 to 3.2 only).
    :raises LeadMagicError: If LeadMagic rejects a request or does not respond.
    """

    template_fields: Sequence[str] = (
        "product",
        "rows",
        "input_path",
        "output_path",
        "column_mapping",
        "minimum_balance_after",
        "max_credits",
        "leadmagic_conn_id",
    )
    operator_extra_links = CREDITS_LINKS
    ui_color = "#e8f4ea"
    max_credits: Any = Guard()

    def __init__(
        self,
        *,
        product: str,
        output_path: str | os.PathLike[str] | ObjectStoragePath,
        rows: Any = None,
        input_path: str | os.PathLike[str] | ObjectStoragePath | None = None,
        delimiter: str | None = None,
        column_mapping: Any = None,
        on_empty: OnEmpty = "fail",
        on_invalid_rows: OnInvalidRows = "fail",
        escape_formulas: bool = True,
        minimum_balance_after: Decimal | float | str = 0,
        max_credits: Decimal | float | str | None = NOT_GIVEN,
        on_insufficient: OnInsufficient = "wait",
        resume_when_paused: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: timedelta | float = 60,
        claim_pool: str | None = None,
        claim_settle: timedelta | float = 60,
        timeout: timedelta | float = timedelta(days=7),
        leadmagic_conn_id: str = "leadmagic_default",
        **kwargs: Any,
    ) -> None:
        if claim_pool is not None:
            from airflow_provider_leadmagic.claims.pool import check_claim_arguments

            check_claim_arguments(claim_pool, claim_settle, kwargs)
            if not deferrable:
                raise ValueError(
                    "deferrable must be True with claim_pool: on a worker the task would hold the pool's only slot "
                    "while it waits"
                )
        super().__init__(**kwargs)
        if (rows is None) == (input_path is None):
            given = "neither" if rows is None else "both"
            raise ValueError(f"Exactly one of rows and input_path must be given; got {given}")
        check_delimiter("delimiter", delimiter)
        check_choice("on_empty", on_empty, get_args(OnEmpty))
        check_choice("on_insufficient", on_insufficient, get_args(OnInsufficient))
        check_choice("on_invalid_rows", on_invalid_rows, get_args(OnInvalidRows))
        check_flag("escape_formulas", escape_formulas)
        check_flag("resume_when_paused", resume_when_paused)
        check_flag("deferrable", deferrable)
        check_seconds("poll_interval", poll_interval, above_zero=True)
        check_seconds("timeout", timeout, above_zero=True)
        self.product = product
        self.rows = rows
        self.input_path = path_text(input_path)
        self.output_path = path_text(output_path)
        self.delimiter = delimiter
        self.column_mapping = column_mapping
        self.on_empty = on_empty
        self.on_invalid_rows = on_invalid_rows
        self.escape_formulas = escape_formulas
        self.minimum_balance_after = minimum_balance_after
        self.max_credits = max_credits
        self.on_insufficient = on_insufficient
        self.resume_when_paused = resume_when_paused
        self.deferrable = deferrable
        self.poll_interval = as_seconds(poll_interval)
        self.claim_pool = claim_pool
        self.claim_settle = as_seconds(claim_settle)
        self.timeout = as_seconds(timeout)
        # ``kwargs`` includes the DAG's default_args. A timeout in them is usually meant for sensors.
        self._timeout_is_a_default = (kwargs.get("default_args") or {}).get("timeout") == timeout
        self.leadmagic_conn_id = leadmagic_conn_id
        self._canceller = JobCanceller()
        self._result: dict[str, Any] | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Join the job of a previous attempt or submit one, wait for it, and write the results."""
        if self.poll_interval < POLITE_POLL_INTERVAL:
            recommended = f"{POLITE_POLL_INTERVAL:g} s between polls of a job"
            self.log.warning("poll_interval is %g s; LeadMagic asks for at least %s.", self.poll_interval, recommended)
        if self._timeout_is_a_default:
            advice = "set timeout on this task if that value is meant for sensors"
            self.log.warning("The attempt's timeout of %g s comes from default_args: %s.", self.timeout, advice)
        return self._report(context, self._attempt(context, time.time() + self.timeout).start())

    # Airflow's database holds the names of the next three methods and of their arguments for tasks that are deferred:
    # renaming one would break these tasks at an upgrade.

    def credits_to_order(
        self, context: Context, event: Any = None, deadline: float = 0.0, known_jobs: Sequence[str] = ()
    ) -> dict[str, Any]:
        """
        Continue when the balance covers the job. Price and balance are requested again, as they may have changed.

        :param context: The task's context.
        :param event: The trigger's event.
        :param deadline: Unix time at which the attempt times out.
        :param known_jobs: IDs of the task's jobs at LeadMagic from before the wait.
        """
        if self.claim_pool is None and not is_wake(event):
            self._log_credits_sufficient(event)
        return self._report(context, self._attempt(context, deadline, known_jobs, seen_from(event)).start())

    def credits_to_resume(
        self, context: Context, event: Any = None, record: Mapping[str, str] | None = None, deadline: float = 0.0
    ) -> dict[str, Any]:
        """
        Continue when the balance covers the remaining rows of a paused job. The balance is checked again.

        :param context: The task's context.
        :param event: The trigger's event.
        :param record: The submitted job, as JSON.
        :param deadline: Unix time at which the attempt times out.
        """
        self._log_credits_sufficient(event)
        return self._report(context, self._attempt(context, deadline).wait_and_finish(_submitted_job(record)))

    def job_seen(
        self, context: Context, event: Any = None, record: Mapping[str, str] | None = None, deadline: float = 0.0
    ) -> dict[str, Any]:
        """
        Continue when the job has finished or paused.

        :param context: The task's context.
        :param event: The trigger's event.
        :param record: The submitted job, as JSON.
        :param deadline: Unix time at which the attempt times out.
        """
        from airflow_provider_leadmagic.bulk.progress import job_from, log_progress

        attempt, submitted_job = self._attempt(context, deadline), _submitted_job(record)
        with attempt.other_account_refused(submitted_job):
            job = job_from(event)
        # The trigger has logged this, too, but Airflow keeps only the log of the last trigger of each attempt.
        log_progress(self.log, job)
        return self._report(context, attempt.continue_with(job, submitted_job))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after a deferral. A timeout of the deferral is raised as LeadMagicTimeoutError on every Airflow."""
        if next_method == deferral.FAILED:
            from airflow_provider_leadmagic.bulk.progress import timed_out

            failure = next_kwargs or {}
            raise timed_out() if deferral.is_timeout(failure) else deferral.trigger_error(self.log, failure)
        return super().resume_execution(next_method, next_kwargs, context)

    def render_template(self, content: Any, context: Context, jinja_env: Any = None, *rest: Any, **options: Any) -> Any:
        """Render a template. The filter ``tojson`` keeps the order of columns, which Jinja would sort."""
        jinja_env = jinja_env or self.get_template_env()
        jinja_env.policies["json.dumps_kwargs"] = {**jinja_env.policies["json.dumps_kwargs"], "sort_keys": False}
        return super().render_template(content, context, jinja_env, *rest, **options)

    def on_kill(self) -> None:
        """Cancel the job if a user ended the task. If only the worker is stopped, the next attempt joins the job."""
        self._canceller.on_kill()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage | None:
        """
        Return the files that the task has read and written. OpenLineage calls this when the task ends.

        :param task_instance: The task instance.
        :return: None if the task has written no results, or the OpenLineage provider is not installed.
        """
        from airflow_provider_leadmagic.operators._bulk_reports import lineage_of

        return None if self._result is None else lineage_of(self.input_path, self._result)

    def _report(self, context: Context, result: dict[str, Any]) -> dict[str, Any]:
        from airflow_provider_leadmagic.operators._bulk_reports import report_spending, spending_record

        self._result = result
        report_spending(self, context, spending_record(result, self.leadmagic_conn_id, self.product))
        return result

    def _attempt(
        self, context: Context, deadline: float, known_jobs: Sequence[str] | None = None, seen: Seen | None = None
    ) -> BulkAttempt:
        from airflow_provider_leadmagic.operators._bulk_run import BulkAttempt

        wait, check = self._wait(context, deadline), self._credits_check(context, seen)
        return BulkAttempt(self._request(), context, wait, self._canceller, self.log, check, known_jobs=known_jobs)

    def _wait(self, context: Context, deadline: float) -> Wait:
        from airflow_provider_leadmagic.claims.pool import key_of
        from airflow_provider_leadmagic.operators._bulk_waiting import ResumeMethods, TriggererWait, WorkerWait

        if not self.deferrable:
            return WorkerWait(self.log, self.leadmagic_conn_id, self.poll_interval, deadline)
        names = (method.__name__ for method in (self.credits_to_order, self.credits_to_resume, self.job_seen))
        claim = {"claim_pool": self.claim_pool, "claimed_by": list(key_of(context["ti"]))} if self.claim_pool else None
        return TriggererWait(
            self.defer, self.leadmagic_conn_id, self.poll_interval, deadline, ResumeMethods(*names), claim
        )

    def _credits_check(self, context: Context, seen: Seen | None) -> CreditsCheck:
        from airflow_provider_leadmagic.claims.pool import ClaimSettings
        from airflow_provider_leadmagic.decisions.claims import NOTHING_SEEN
        from airflow_provider_leadmagic.operators._bulk_claim import BalanceCheck, ClaimCheck

        if self.claim_pool is None or not can_claim(context):
            return BalanceCheck(self.leadmagic_conn_id)
        settings = ClaimSettings(self.claim_pool, self.claim_settle, self.poll_interval)
        return ClaimCheck(self, context["ti"], settings, seen or NOTHING_SEEN, self.log)

    def _request(self) -> BulkRequest:
        from airflow_provider_leadmagic.bulk.submission import BulkRequest

        return BulkRequest(
            product=self.product,
            rows=self.rows,
            input_path=self.input_path,
            output_path=self.output_path,
            delimiter=self.delimiter,
            column_mapping=self.column_mapping,
            on_empty=self.on_empty,
            on_invalid_rows=self.on_invalid_rows,
            escape_formulas=self.escape_formulas,
            minimum_balance_after=self.minimum_balance_after,
            max_credits=self.max_credits,
            has_max_credits=BulkEnrichmentOperator.max_credits.is_given(self),
            on_insufficient=self.on_insufficient,
            resume_when_paused=self.resume_when_paused,
            conn_id=self.leadmagic_conn_id,
        )

    def _log_credits_sufficient(self, event: Any) -> None:
        report = report_from(event)
        conn_id, spendable, needed = self.leadmagic_conn_id, report["spendable"], report["minimum_credits"]
        self.log.info("Credits sufficient: %s spendable, %s required on connection %r.", spendable, needed, conn_id)


def _submitted_job(fields: Mapping[str, str] | None) -> SubmittedJob:
    from airflow_provider_leadmagic.bulk.previous_attempts import SubmittedJob

    return SubmittedJob.from_json(fields or {})
