"""Price and submit one bulk job, and name it so that later attempts can find it."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.base_url import is_own_machine, is_public
from airflow_provider_leadmagic.api.products import find_bulk_product
from airflow_provider_leadmagic.api.text import format_credits
from airflow_provider_leadmagic.bulk.row_checks import RenamedRows, ValidRows
from airflow_provider_leadmagic.bulk.rows import row_source
from airflow_provider_leadmagic.compat.imports import conf
from airflow_provider_leadmagic.compat.task_state import execution_api_url, origin_of_run, tested_run, web_url
from airflow_provider_leadmagic.exceptions import (
    CreditsLimitError,
    InsufficientCreditsError,
    LeadMagicRequestError,
    LeadMagicResponseError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from airflow_provider_leadmagic.api.jobs import BulkJob
    from airflow_provider_leadmagic.bulk.rows import RowSource
    from airflow_provider_leadmagic.client import LeadMagicClient

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BulkRequest:
    """
    The operator's arguments, with rendered templates. The values that were templates are not validated yet.

    ``has_max_credits`` is True if the DAG file sets ``max_credits``, which then must not render to None.
    """

    product: str
    rows: object
    input_path: object
    output_path: object
    delimiter: str | None
    column_mapping: object
    on_empty: str
    on_invalid_rows: str
    escape_formulas: bool
    minimum_balance_after: object
    max_credits: object
    has_max_credits: bool
    on_insufficient: str
    resume_when_paused: bool
    conn_id: str

    def source(self) -> RowSource:
        """Return the rows to submit, with the column names of LeadMagic."""
        renamed = self.renamed_rows()
        return renamed if self.on_invalid_rows == "fail" else ValidRows(renamed, find_bulk_product(self.product))

    def renamed_rows(self) -> RenamedRows:
        """Return all rows, with the column names of LeadMagic."""
        source = row_source(rows=self.rows, input_path=self.input_path, delimiter=self.delimiter)
        return RenamedRows(source, self.column_mapping, find_bulk_product(self.product).fields)


@dataclass(frozen=True)
class BulkSubmission:
    """
    A submission whose rows have been checked.

    :param product: The product's name.
    :param source: The rows.
    :param rows: The number of rows.
    :param digest: The digest of the rows.
    :param minimum_balance_after: Credits that must remain even if every row is a hit.
    :param max_credits: The highest acceptable price; None for no limit.
    """

    product: str
    source: RowSource
    rows: int
    digest: str
    minimum_balance_after: Decimal
    max_credits: Decimal | None

    def estimate(self, client: LeadMagicClient) -> Decimal:
        """
        Let LeadMagic validate the rows, and check their price. Free of charge.

        :return: Credits that the job costs if every row is a hit.
        :raises CreditsLimitError: If the price exceeds ``max_credits``.
        :raises LeadMagicError: If LeadMagic rejects the rows or does not respond.
        """
        if client.bulk.validate(self.product, self.source).get("valid") is False:
            raise LeadMagicRequestError(f"LeadMagic rejected the rows as invalid. [{self.source.name}]")
        price = price_of(client, self.product, self.source, self.rows)
        if self.max_credits is not None and price > self.max_credits:
            limit = format_credits(self.max_credits)
            problem = f"the job can cost {format_credits(price)} credits, max_credits is {limit}"
            raise CreditsLimitError(f"Not submitted: {problem}.")
        return price

    def credits_needed(self, estimate: Decimal) -> Decimal:
        """
        Return the credits that must be spendable before the job is submitted.

        :param estimate: Credits that the job costs if every row is a hit.
        """
        return estimate + self.minimum_balance_after

    def check_balance(self, client: LeadMagicClient, estimate: Decimal, conn_id: str) -> None:
        """
        Check that the current balance covers the job.

        :param estimate: Credits that the job costs if every row is a hit.
        :param conn_id: The connection, for the error message.
        :raises InsufficientCreditsError: If the balance does not cover it.
        :raises LeadMagicError: If LeadMagic rejects the request or does not respond.
        """
        needed, balance = self.credits_needed(estimate), client.get_credits()
        if not balance.covers(needed):
            spendable = format_credits(balance.spendable)
            problem = f"{spendable} spendable, {format_credits(needed)} required on connection {conn_id!r}"
            parts = f"{format_credits(estimate)} for the job, {format_credits(self.minimum_balance_after)} to remain"
            raise InsufficientCreditsError(
                f"Not enough credits: {problem} ({parts}).",
                required=needed,
                available=balance.spendable,
            )

    def submit(self, client: LeadMagicClient, idempotency_key: str) -> BulkJob:
        """
        Submit the job. **Costs credits**, for each row that is a hit.

        :param idempotency_key: Identifies the submission: submitting it again returns the same job.
        :raises LeadMagicError: If LeadMagic rejects the request or does not respond. It may nevertheless have accepted
            the job, if the response to this request or to an earlier one was lost.
        """
        name = job_name(idempotency_key, self.digest)
        job = client.bulk.submit(self.product, self.source, idempotency_key=idempotency_key, file_name=name)
        if job.total_rows not in (0, None, self.rows):  # 0 or None if the response has no valid count
            problem = f"{job.total_rows:,} rows, but {self.rows:,} were submitted and priced"
            log.error("Check bulk job %s in LeadMagic's app: it has %s.", job.job_id, problem)
        return job


def price_of(client: LeadMagicClient, product: str, source: RowSource, rows: int) -> Decimal:
    """
    Return the price of rows if each of them is a hit. Free of charge.

    :param product: The product's name.
    :param source: The rows.
    :param rows: The number of rows.
    :raises LeadMagicError: If LeadMagic rejects the request or does not respond.
    """
    preview = client.bulk.preview(product, source)
    if preview.items != rows:
        problem = f"it covers {preview.items:,} rows instead of {rows:,}"
        raise LeadMagicResponseError(f"Unexpected cost preview from LeadMagic: {problem}.")
    price = format_credits(preview.credits)
    log.info("Cost preview: up to %s credits for %s rows of %s.", price, f"{preview.items:,}", product)
    if preview.will_exceed_budget:
        log.warning("Cost preview: the job exceeds a budget set at LeadMagic, which may reject it.")
    return preview.credits


def idempotency_key(context: Mapping[str, Any], rows_digest: str) -> str:
    """
    Return the idempotency key of a task's bulk job: the same for all attempts, a new one after a clear.

    The first part identifies the task. It is also derived from the name of the Airflow instance
    (:func:`instance_name`) or, if that is empty, from the start of the run (:func:`origin_of_run`), which a clear
    changes if the run had ended. The second part usually changes with a clear, because Airflow then increases
    ``max_tries`` (Airflow 2 does not if the task is running). Retries and lost workers or triggerers change neither
    part.

    :param context: The task's context.
    :param rows_digest: The digest of the rows. Used instead of ``max_tries`` in ``airflow tasks test``.
    """
    ti, tested = context["ti"], tested_run(context)
    run, generation = (ti.run_id, ti.max_tries) if tested is None else (f"tasks test {tested}", rows_digest)
    task = _digest([instance_name() or origin_of_run(context), ti.dag_id, run, ti.task_id, ti.map_index], 24)
    return f"airflow-{task}-{_digest([generation], 15)}"


def instance_name() -> str:
    """
    Return the name that distinguishes this Airflow from others that use the same LeadMagic account.

    The default is a configured URL. It is not derived from a secret: a Fernet key, for example, can be rotated, and a
    worker without one generates one at each start. A retry would then pay again.

    :return: The name; empty if no setting distinguishes this Airflow from others. Idempotency keys then contain
        :func:`origin_of_run` instead.
    """
    web, execution = web_url(), execution_api_url()
    url = "" if is_own_machine(web) else web
    # An internal host name can be the same in every Docker network or Kubernetes cluster.
    internal = execution if is_public(execution) else ""
    return str(conf.get("leadmagic", "instance_name", fallback=None) or url or internal)


def _digest(parts: list[object], length: int) -> str:
    # A digest hides the names of DAGs from LeadMagic. JSON distinguishes ("a", "bc") from ("ab", "c").
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:length]


def job_name(idempotency_key: str, digest: str) -> str:
    """
    Return the name to submit a job with. Later attempts search for it, so a change of its format would lose jobs.

    :param digest: The digest of the rows.
    """
    return f"{idempotency_key}.{digest}"


def is_of_same_task(name: str | None, idempotency_key: str) -> bool:
    """
    Return whether a given job was submitted by any attempt of a task. The first part of its name identifies the task.

    :param name: The job's name.
    :param idempotency_key: A key of one of the attempts.
    """
    return name is not None and name.startswith(f"{idempotency_key.rpartition('-')[0]}-")


def is_same_generation(stored_key: str, idempotency_key: str) -> bool:
    """
    Return whether a job was submitted after the last clear of its task. Only the second part of the keys is compared,
    because the first part differs if the instance name was changed after the submission.

    :param stored_key: The key in the state store of the task.
    """
    return stored_key.rpartition("-")[2] == idempotency_key.rpartition("-")[2]


def was_submitted_with(name: str | None, idempotency_key: str) -> bool:
    """
    Return whether a job was submitted with this idempotency key.

    :param name: The job's name.
    """
    return name is not None and name.startswith(f"{idempotency_key}.")


#: LeadMagic may append a suffix to a name. If it shortens a name, the digest is unknown.
_JOB_NAME = re.compile(r"airflow-[0-9a-f]{24}-[0-9a-f]{15}\.([0-9a-f]{16})(?![0-9a-f])")


def digest_in(name: str | None) -> str | None:
    """
    Return the digest of the rows that a job was submitted with.

    :param name: The job's name.
    :return: The digest; None if the name was not made by :func:`job_name`, or LeadMagic did not keep it.
    """
    found = _JOB_NAME.match(name or "")
    return found[1] if found else None


def check_same_rows(job: BulkJob, digest: str, source: str) -> None:
    """
    Check that an unfinished job has the rows of the current input, before the task waits or spends credits.

    :param digest: The digest of the current rows.
    :param source: The name of the input, for the error message.
    :raises LeadMagicResponseError: If the rows or the product differ.
    """
    if not job.is_finished and digest_in(job.file_name) not in (None, digest):
        raise LeadMagicResponseError(
            "Input changed since it was submitted: restore it, or clear the task to submit the new rows. "
            f"Bulk job {job.job_id} is unchanged. [{source}]"
        )
