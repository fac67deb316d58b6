"""Report balances as Airflow metrics, to the StatsD or OpenTelemetry backend that Airflow is configured with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_provider_leadmagic.compat.imports import Stats

if TYPE_CHECKING:
    from airflow_provider_leadmagic.api.models import CreditBalance
    from airflow_provider_leadmagic.exceptions import LeadMagicError


class BalanceMetrics:
    """
    Reports each poll of one connection.

    :param conn_id: Connection ID, the tag ``conn_id`` of every metric. Characters that StatsD rejects become ``_``.
    """

    def __init__(self, conn_id: str) -> None:
        # For a tag with any character but these, Airflow logs an error and drops the metric or the tag.
        self._tags = {"conn_id": re.sub(r"[^\w./-]", "_", str(conn_id), flags=re.ASCII)}

    def seen(self, balance: CreditBalance) -> None:
        """Set the gauges ``leadmagic.credits`` and ``leadmagic.credits_spendable``."""
        Stats.gauge("leadmagic.credits", float(balance.credits), tags=self._tags)
        Stats.gauge("leadmagic.credits_spendable", float(balance.spendable), tags=self._tags)

    def failed(self, error: LeadMagicError) -> None:
        """Increment the counter ``leadmagic.failed_polls``, tagged with the class of the error."""
        Stats.incr("leadmagic.failed_polls", tags={**self._tags, "error": type(error).__name__})
