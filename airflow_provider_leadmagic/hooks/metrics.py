"""Report balances and spending as Airflow metrics, to the StatsD or OpenTelemetry backend that Airflow has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from airflow_provider_leadmagic.api.text import json_number
from airflow_provider_leadmagic.api.validation import parse_credits
from airflow_provider_leadmagic.compat.imports import Stats

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from airflow_provider_leadmagic.api.models import CreditBalance
    from airflow_provider_leadmagic.exceptions import LeadMagicError


class BalanceMetrics:
    """
    Reports each poll of one connection.

    :param conn_id: Connection ID, the tag ``conn_id`` of every metric. Characters that StatsD rejects become ``_``.
    """

    def __init__(self, conn_id: str) -> None:
        self._tags = {"conn_id": _tag(conn_id)}

    def seen(self, balance: CreditBalance) -> None:
        """Set the gauges ``leadmagic.credits`` and ``leadmagic.credits_spendable``."""
        Stats.gauge("leadmagic.credits", float(balance.credits), tags=self._tags)
        Stats.gauge("leadmagic.credits_spendable", float(balance.spendable), tags=self._tags)

    def failed(self, error: LeadMagicError) -> None:
        """Increment the counter ``leadmagic.failed_polls``, tagged with the class of the error."""
        Stats.incr("leadmagic.failed_polls", tags={**self._tags, "error": type(error).__name__})


def report_claims(pool: str, claimed: Decimal, spendable: Decimal, waiting: int) -> None:
    """
    Set the gauges of the claims on an account, with the tag ``pool``.

    :param pool: Name of the claim pool.
    :param claimed: Credits that tasks hold: ``leadmagic.credits_claimed``.
    :param spendable: Spendable credits. ``leadmagic.credits_available`` is what the claims leave of them, at least 0.
    :param waiting: Number of waiting tasks: ``leadmagic.gates_waiting``.
    """
    tags = {"pool": _tag(pool)}
    Stats.gauge("leadmagic.credits_claimed", float(claimed), tags=tags)
    Stats.gauge("leadmagic.credits_available", max(float(spendable - claimed), 0.0), tags=tags)
    Stats.gauge("leadmagic.gates_waiting", waiting, tags=tags)


def count_spent_credits(credits: object, conn_id: str, product: str, task: Mapping[str, str]) -> None:
    """
    Increment the counter ``leadmagic.credits_spent``, also by fractions such as 0.25.

    Airflow's signature says ``int``, but it passes any number on to StatsD, Datadog or OpenTelemetry. Rounding, or
    counting in hundredths, would lose fractions or change the unit.

    :param credits: Number of credits, from a response. Nothing is counted if it is missing or invalid.
    :param conn_id: Connection through which they were spent.
    :param product: LeadMagic's name of the product.
    :param task: ``dag_id`` and ``task_id`` of the task that spent them; empty outside a task.
    """
    try:
        number = json_number(parse_credits("credits", credits))
    except ValueError:
        return
    tags = {"conn_id": conn_id, "product": product, **task}
    Stats.incr("leadmagic.credits_spent", cast("int", number), tags={name: _tag(value) for name, value in tags.items()})


def _tag(value: str) -> str:
    # For a tag with any other character, Airflow logs an error and drops the metric or the tag.
    return re.sub(r"[^\w./-]", "_", str(value), flags=re.ASCII)
