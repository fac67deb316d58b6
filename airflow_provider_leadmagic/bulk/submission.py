"""What is to be bought in one bulk job, and whether it can be paid."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.text import format_credits
from airflow_provider_leadmagic.exceptions import (
    CreditsLimitError,
    InsufficientCreditsError,
    LeadMagicRequestError,
    LeadMagicResponseError,
)

if TYPE_CHECKING:
    from decimal import Decimal

    from airflow_provider_leadmagic.api.jobs import BulkJob
    from airflow_provider_leadmagic.bulk.rows import RowSource
    from airflow_provider_leadmagic.client import LeadMagicClient

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BulkSubmission:
    """
    An order whose rows have been checked.

    :param product: The product's name.
    :param source: The rows.
    :param rows: How many there are.
    :param digest: Of the rows.
    :param minimum_balance_after: Credits that must be left if every row is a hit.
    :param max_credits: The most it may cost; None for any price.
    """

    product: str
    source: RowSource
    rows: int
    digest: str
    minimum_balance_after: Decimal
    max_credits: Decimal | None

    def price(self, client: LeadMagicClient) -> Decimal:
        """
        Ask what it costs if every row is a hit. Free of charge.

        :param client: Whom to ask.
        :raises LeadMagicError: If LeadMagic refuses or does not response.
        """
        preview = client.bulk.preview(self.product, self.source)
        if preview.items != self.rows:
            raise LeadMagicResponseError(f"LeadMagic priced {preview.items:,} rows instead of {self.rows:,}")
        log.info("%s rows of %s cost up to %s.", f"{preview.items:,}", self.product, format_credits(preview.credits))
        if preview.will_exceed_budget:
            log.warning("LeadMagic says that this exceeds a budget that is set there.")
        return preview.credits

    def estimate(self, client: LeadMagicClient) -> Decimal:
        """
        Have LeadMagic check the rows and name the price. Both are free of charge.

        :param client: Whom to ask.
        :return: Credits it costs if every row is a hit.
        :raises CreditsLimitError: If that is more than it may cost.
        :raises LeadMagicError: If LeadMagic refuses the rows or does not response.
        """
        if client.bulk.validate(self.product, self.source).get("valid") is False:
            raise LeadMagicRequestError(f"LeadMagic says that the rows of {self.source.name} are not valid")
        price = self.price(client)
        if self.max_credits is not None and price > self.max_credits:
            limit = format_credits(self.max_credits)
            raise CreditsLimitError(f"It can cost {format_credits(price)} credits; max_credits is {limit}.")
        return price

    def credits_needed(self, estimate: Decimal) -> Decimal:
        """
        Tell what has to be spendable before it is ordered.

        :param estimate: The most it can cost.
        """
        return estimate + self.minimum_balance_after

    def submit(self, client: LeadMagicClient, idempotency_key: str, estimate: Decimal, conn_id: str) -> BulkJob:
        """
        Order it if the balance of this moment covers it.

        **Costs credits**, once for each row that is a hit.

        :param client: Of whom to order.
        :param idempotency_key: Names the order, so that ordering it again is joining the same job.
        :param estimate: The most it can cost.
        :param conn_id: The connection, for the message.
        :raises InsufficientCreditsError: If the balance does not cover it, by our own look or by LeadMagic's.
        :raises LeadMagicError: If LeadMagic refuses or does not response.
        """
        needed, balance = self.credits_needed(estimate), client.get_credits()
        if not balance.covers(needed):
            spendable = format_credits(balance.spendable)
            problem = f"Connection {conn_id!r} can spend {spendable} credits, {format_credits(needed)} are needed"
            raise InsufficientCreditsError(
                f"{problem}: up to {format_credits(estimate)} for the job, "
                f"and {format_credits(self.minimum_balance_after)} to be left after it.",
                required=needed,
                available=balance.spendable,
            )
        name = job_name(idempotency_key, self.digest)
        return client.bulk.submit(self.product, self.source, idempotency_key=idempotency_key, file_name=name)


def idempotency_key(task_instance: Any, max_tries: int | None = None) -> str:
    """
    Name the one bulk job that a task may order: the same for each of its tries, another after it was cleared.

    Airflow raises ``max_tries`` when a person clears a task; a retry, a lost worker or triggerer leave it alone.
    It may leave it alone, too, when a person clears a task while it runs: see :func:`successor`.

    :param task_instance: The task instance.
    :param max_tries: Its number at another time; by default that of now.
    """
    names = ("dag_id", "run_id", "task_id", "map_index")
    tries = task_instance.max_tries if max_tries is None else max_tries
    return _digest([*(getattr(task_instance, name) for name in names), tries])


def successor(key: str, canceled_job_id: str) -> str:
    """
    Name the job to order in place of a canceled one.

    :param key: The key the canceled job was ordered under.
    :param canceled_job_id: Its id.
    """
    return _digest([key, canceled_job_id])


def _digest(parts: list[object]) -> str:
    # A digest, as LeadMagic need not know how DAGs are called; JSON, as it keeps "a", "bc" and "ab", "c" apart.
    return f"airflow-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]}"


def job_name(idempotency_key: str, digest: str) -> str:
    """
    Name a job.

    :param idempotency_key: The key of the order.
    :param digest: Of the rows.
    """
    return f"{idempotency_key}.{digest}"


def was_submitted_with(name: str | None, idempotency_key: str) -> bool:
    """
    Tell whether a job is that of an order.

    :param name: The job's name.
    :param idempotency_key: The key of the order.
    """
    return name is not None and name.startswith(f"{idempotency_key}.")


def digest_in(name: str | None) -> str | None:
    """
    Tell of which rows a job is.

    :param name: The job's name.
    :return: The digest; None if the name is none of ours, or LeadMagic did not keep it.
    """
    prefix, _, digest = (name or "").partition(".")
    return digest if digest and prefix.startswith("airflow-") else None
