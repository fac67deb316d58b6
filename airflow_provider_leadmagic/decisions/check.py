"""Compare a credit balance with the thresholds of CheckCreditsOperator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.models import rounded_down
from airflow_provider_leadmagic.api.text import format_credits, json_number

if TYPE_CHECKING:
    from decimal import Decimal

    from airflow_provider_leadmagic.api.models import CreditBalance, CreditsRunway


@dataclass(frozen=True)
class CreditCheck:
    """
    A balance and the thresholds it is compared with. A threshold of None is not checked.

    :param conn_id: Airflow connection ID, for the messages.
    :param balance: Balance to check.
    :param minimum_credits: Number of credits that must be spendable.
    :param warn_below: Number of spendable credits below which to warn.
    :param runway: How long the balance lasts.
    :param minimum_runway_days: Number of days the balance must last.
    """

    conn_id: str
    balance: CreditBalance
    minimum_credits: Decimal | None = None
    warn_below: Decimal | None = None
    runway: CreditsRunway | None = None
    minimum_runway_days: Decimal | None = None

    def report(self) -> dict[str, Any]:
        """Return the result of the check in plain JSON. This is the operator's XCom."""
        report = self.balance.report(self.minimum_credits)
        if self.runway is None or self.minimum_runway_days is None:
            return report
        minimum = {"minimum_runway_days": json_number(self.minimum_runway_days)}
        return {**report, **self.runway.report(), **minimum, "sufficient": not self.shortfalls()}

    @property
    def is_low(self) -> bool:
        """Whether to call ``on_low_credits``: the balance is below ``warn_below``, or its runway is too short."""
        return self.warning() is not None or bool(self._runway_shortfalls())

    def warning(self) -> str | None:
        """Return the warning for a balance below ``warn_below``; None if it is not below."""
        if self.warn_below is None or self.balance.covers(self.warn_below):
            return None
        spendable, warn_below = format_credits(self.balance.spendable), format_credits(self.warn_below)
        return f"Credits low: {spendable} spendable, warn_below is {warn_below} on connection {self.conn_id!r}."

    def shortfalls(self) -> list[str]:
        """Return a message for each minimum that is not reached; an empty list if all are reached."""
        return self._credits_shortfalls() + self._runway_shortfalls()

    @property
    def required(self) -> Decimal | None:
        """Number of credits that would reach every minimum; None if unknown."""
        amounts = [self.minimum_credits]
        if self.runway is not None and self.minimum_runway_days is not None:
            amounts.append(self.runway.credits_for(self.minimum_runway_days))
        return max((amount for amount in amounts if amount is not None), default=None)

    def _credits_shortfalls(self) -> list[str]:
        if self.minimum_credits is None or self.balance.covers(self.minimum_credits):
            return []
        spendable, required = format_credits(self.balance.spendable), format_credits(self.minimum_credits)
        return [f"Not enough credits: {spendable} spendable, {required} required on connection {self.conn_id!r}."]

    def _runway_shortfalls(self) -> list[str]:
        runway, minimum = self.runway, self.minimum_runway_days
        if runway is None or minimum is None or runway.days_left is None or runway.covers(minimum):
            return []
        lasts = f"Credits last {rounded_down(runway.days_left, 1):,.1f} days"
        spendable, pace = format_credits(self.balance.spendable), format_credits(runway.pace)
        average = f"{spendable} spendable at {pace} credits a day (average of the last {runway.days} days)"
        end = f", used up by {runway.runs_out_at:%Y-%m-%d %H:%M} UTC" if runway.runs_out_at else ""
        return [
            f"{lasts}, minimum_runway_days is {format_credits(minimum)}: {average} on connection {self.conn_id!r}{end}."
        ]
