"""What is seen of a balance, as metrics of Airflow: they go where its own go, to StatsD or OpenTelemetry."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_provider_leadmagic.compat.imports import Stats

if TYPE_CHECKING:
    from airflow_provider_leadmagic.api.models import CreditBalance
    from airflow_provider_leadmagic.exceptions import LeadMagicError


class BalanceMetrics:
    """
    Reports each look at the balance of one connection.

    :param conn_id: The connection, the tag ``conn_id`` of every metric. What StatsD does not take becomes ``_`` in it.
    """

    def __init__(self, conn_id: str) -> None:
        # Airflow writes an error and sends nothing, or no tag, where a tag holds anything else.
        self._tags = {"conn_id": re.sub(r"[^\w./-]", "_", str(conn_id), flags=re.ASCII)}

    def seen(self, balance: CreditBalance) -> None:
        """Set the gauges ``leadmagic.credits`` and ``leadmagic.credits_spendable``."""
        Stats.gauge("leadmagic.credits", float(balance.credits), tags=self._tags)
        Stats.gauge("leadmagic.credits_spendable", float(balance.spendable), tags=self._tags)

    def failed(self, error: LeadMagicError) -> None:
        """Increment the counter ``leadmagic.failed_polls``, tagged with the class of the error."""
        Stats.incr("leadmagic.failed_polls", tags={**self._tags, "error": type(error).__name__})
