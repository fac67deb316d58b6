"""Enrich a list of records by one LeadMagic bulk job, ordered once whatever becomes of Airflow's processes."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow_provider_leadmagic.api.validation import check_choice, check_flag, check_seconds
from airflow_provider_leadmagic.bulk.cancel import JobCanceller
from airflow_provider_leadmagic.compat import deferral
from airflow_provider_leadmagic.compat.imports import BaseOperator, conf, path_text
from airflow_provider_leadmagic.decisions.events import report_from
from airflow_provider_leadmagic.links import CREDITS_LINKS

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from airflow_provider_leadmagic.bulk.previous_attempts import SubmittedJob
    from airflow_provider_leadmagic.compat.imports import Context, ObjectStoragePath
    from airflow_provider_leadmagic.operators._bulk_run import BulkAttempt, BulkRequest
    from airflow_provider_leadmagic.operators._bulk_waiting import Wait

OnInsufficient = Literal["wait", "fail"]
#: Seconds.
POLITE_POLL_INTERVAL = 45.0

# The modules of the work itself are imported where they are used: they bring the HTTP client, which no DAG file needs
# in order to be parsed.


class BulkEnrichmentOperator(BaseOperator):
    """
    Enrich records by one bulk job: check and price them, wait for the credits, order once, write the results.

    Before anything is spent the rows, the files and the balance are checked, and LeadMagic names the price; that is
    free. The job is ordered under a key made of DAG, run, task, map index and ``max_tries``: a retry, and whatever
    follows a lost worker or triggerer, joins the job that exists. Only a task that a person cleared orders a new one.

    Returns ``{"job_id", "status", "total_rows", "succeeded", "failed", "skipped", "credits_estimated",
    "credits_consumed", "output_path", "errors_path"}`` as XCom.

    :param product: LeadMagic's name of the product, such as ``email_finder``. Templated.
    :param rows: The records: a list of dicts with the same keys, or JSON text of one. Templated; may be the output of
        another task. Either this or ``input_path``.
    :param input_path: A CSV or JSONL file with the records: local, or a URL for ``ObjectStoragePath``. Templated.
    :param output_path: Where the results go, CSV or JSONL by its suffix: the columns that came in, in the order they
        came in, and LeadMagic's under names that begin with ``lm_``. Rows that failed or were skipped go next to it,
        with ``.errors`` in the name. Both appear when they are complete. Templated.
    :param minimum_balance_after: Credits that must be left even if every row is a hit; 0 by default. Templated.
    :param max_credits: Refuse to order if it could cost more. No limit by default. Templated.
    :param on_insufficient: What to do if the balance does not cover the order: ``wait`` (default), or ``fail``.
    :param resume_when_paused: LeadMagic pauses a job when the credits run out. Wait for the credits it still needs, and
        resume it (default); otherwise wait until a person does.
    :param deferrable: Wait in the triggerer. By default what ``[operators] default_deferrable`` says.
    :param poll_interval: Seconds, or timedelta, from one look at the job or the balance to the next; 60 by default.
        LeadMagic asks for 45 at least.
    :param timeout: Seconds, or timedelta, that one try waits in all, for credits and for the job; 7 days by default.
    :param leadmagic_conn_id: The connection, ``leadmagic_default`` by default. Templated.
    :raises ValueError: If an argument, a row or a file cannot be used; the message names it. Nothing was spent.
    :raises CreditsLimitError: If it could cost more than ``max_credits``. Nothing was spent.
    :raises InsufficientCreditsError: If the balance does not cover it and ``on_insufficient`` is ``fail``.
    :raises LeadMagicTimeoutError: When ``timeout`` is reached. The job goes on, and the next try joins it.
    :raises AirflowFailException: If the job failed or was canceled at LeadMagic, which a retry would not change.
    :raises LeadMagicError: What LeadMagic refuses, or does not response.
    """

    template_fields: Sequence[str] = (
        "product",
        "rows",
        "input_path",
        "output_path",
        "minimum_balance_after",
        "max_credits",
        "leadmagic_conn_id",
    )
    operator_extra_links = CREDITS_LINKS
    ui_color = "#e8f4ea"

    def __init__(
        self,
        *,
        product: str,
        output_path: str | os.PathLike[str] | ObjectStoragePath,
        rows: Any = None,
        input_path: str | os.PathLike[str] | ObjectStoragePath | None = None,
        minimum_balance_after: Decimal | float | str = 0,
        max_credits: Decimal | float | str | None = None,
        on_insufficient: OnInsufficient = "wait",
        resume_when_paused: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: timedelta | float = 60,
        timeout: timedelta | float = timedelta(days=7),
        leadmagic_conn_id: str = "leadmagic_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (rows is None) == (input_path is None):
            raise ValueError("Either rows or input_path must be given, and not both")
        check_choice("on_insufficient", on_insufficient, get_args(OnInsufficient))
        check_flag("resume_when_paused", resume_when_paused)
        check_flag("deferrable", deferrable)
        check_seconds("poll_interval", poll_interval, above_zero=True)
        check_seconds("timeout", timeout, above_zero=True)
        self.product = product
        self.rows = rows
        self.input_path = path_text(input_path)
        self.output_path = path_text(output_path)
        self.minimum_balance_after = minimum_balance_after
        self.max_credits = max_credits
        self.on_insufficient = on_insufficient
        self.resume_when_paused = resume_when_paused
        self.deferrable = deferrable
        self.poll_interval = _seconds(poll_interval)
        self.timeout = _seconds(timeout)
        self.leadmagic_conn_id = leadmagic_conn_id
        self._canceller = JobCanceller()

    def execute(self, context: Context) -> dict[str, Any]:
        """Join the job of an earlier try or order one, and see it through."""
        if self.poll_interval < POLITE_POLL_INTERVAL:
            asked = f"{POLITE_POLL_INTERVAL:g} s from one look at a job to the next"
            self.log.warning("poll_interval is %g s; LeadMagic asks for %s.", self.poll_interval, asked)
        return self._attempt(context, time.time() + self.timeout).start()

    def credits_to_order(self, context: Context, event: Any = None, deadline: float = 0.0) -> dict[str, Any]:
        """
        Go on when the balance covers the order: price and balance of this moment count, so both are asked again.

        :param context: The task's context.
        :param event: What the trigger sent.
        :param deadline: Unix time at which waiting ends.
        """
        self._log_credits_sufficient(event)
        return self._attempt(context, deadline).start()

    def credits_to_resume(
        self, context: Context, event: Any = None, record: Mapping[str, str] | None = None, deadline: float = 0.0
    ) -> dict[str, Any]:
        """
        Go on when the balance covers the rest of a paused job; whether it still does is looked up.

        :param context: The task's context.
        :param event: What the trigger sent.
        :param record: The job that was ordered.
        :param deadline: Unix time at which waiting ends.
        """
        self._log_credits_sufficient(event)
        return self._attempt(context, deadline).wait_and_finish(_record(record))

    def job_seen(
        self, context: Context, event: Any = None, record: Mapping[str, str] | None = None, deadline: float = 0.0
    ) -> dict[str, Any]:
        """
        Go on when the job has ended or paused.

        :param context: The task's context.
        :param event: What the trigger sent.
        :param record: The job that was ordered.
        :param deadline: Unix time at which waiting ends.
        """
        from airflow_provider_leadmagic.bulk.progress import job_from

        job = job_from(event)
        # As the trigger said; but Airflow keeps the log of one trigger for each try, and drops those before it.
        self.log.info("Job %s is %s: %s.", job.job_id, job.status, job.progress())
        return self._attempt(context, deadline).continue_with(job, _record(record))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Come back from a deferral; the end of its time is ours, whatever Airflow makes of it."""
        if next_method == deferral.FAILED:
            from airflow_provider_leadmagic.bulk.progress import timed_out

            failure = next_kwargs or {}
            raise timed_out() if deferral.is_timeout(failure) else deferral.trigger_error(self.log, failure)
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Cancel the job if a person ended the task; a worker that is told to stop leaves it to the next attempt."""
        self._canceller.on_kill()

    def _attempt(self, context: Context, deadline: float) -> BulkAttempt:
        from airflow_provider_leadmagic.operators._bulk_run import BulkAttempt
        from airflow_provider_leadmagic.operators._bulk_waiting import ResumeMethods, TriggererWait, WorkerWait

        wait: Wait = WorkerWait(self.log, self.leadmagic_conn_id, self.poll_interval, deadline)
        if self.deferrable:
            names = (method.__name__ for method in (self.credits_to_order, self.credits_to_resume, self.job_seen))
            wait = TriggererWait(
                self.defer, self.leadmagic_conn_id, self.poll_interval, deadline, ResumeMethods(*names)
            )
        return BulkAttempt(self._request(), context, wait, self._canceller, self.log)

    def _request(self) -> BulkRequest:
        from airflow_provider_leadmagic.operators._bulk_run import BulkRequest

        return BulkRequest(
            product=self.product,
            rows=self.rows,
            input_path=self.input_path,
            output_path=self.output_path,
            minimum_balance_after=self.minimum_balance_after,
            max_credits=self.max_credits,
            on_insufficient=self.on_insufficient,
            resume_when_paused=self.resume_when_paused,
            conn_id=self.leadmagic_conn_id,
        )

    def _log_credits_sufficient(self, event: Any) -> None:
        report = report_from(event)
        conn_id, spendable, needed = self.leadmagic_conn_id, report["spendable"], report["minimum_credits"]
        self.log.info("Credits sufficient: %s spendable, %s required on connection %r.", spendable, needed, conn_id)


def _seconds(length: timedelta | float) -> float:
    return length.total_seconds() if isinstance(length, timedelta) else float(length)


def _record(fields: Mapping[str, str] | None) -> SubmittedJob:
    from airflow_provider_leadmagic.bulk.previous_attempts import SubmittedJob

    return SubmittedJob.from_json(fields or {})
