"""How long the credits last at the pace at which they are being spent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.exceptions import LeadMagicResponseError
from airflow_provider_leadmagic.models import is_finite, json_number

if TYPE_CHECKING:
    from airflow_provider_leadmagic.models import CreditBalance


@dataclass(frozen=True)
class CreditsRunway:
    """
    The time until the spendable credits run out.

    :param balance: What can be spent, and when that was seen.
    :param daily_credits: Credits spent on an average day.
    :param days: Days the average was taken over, today included.
    """

    balance: CreditBalance
    daily_credits: Decimal
    days: int

    @property
    def days_left(self) -> Decimal | None:
        """Days until nothing is left; None when nothing was spent, so that no end is in sight."""
        if self.daily_credits <= 0:
            return None
        return max(self.balance.spendable, Decimal(0)) / self.daily_credits

    @property
    def runs_out_at(self) -> datetime | None:
        """The moment (UTC) when nothing is left; None when nothing was spent, or it lies beyond the year 9999."""
        if self.days_left is None:
            return None
        try:
            return self.balance.observed_at + timedelta(days=float(self.days_left))
        except OverflowError:
            return None

    def covers(self, minimum_days: Decimal) -> bool:
        """Tell whether the credits last for so many days: the one place where the two meet."""
        return self.days_left is None or self.days_left >= minimum_days

    def report(self) -> dict[str, Any]:
        """Describe the runway in plain JSON."""
        return {
            "runway_days": None if self.days_left is None else json_number(round(self.days_left, 2)),
            "runs_out_at": None if self.runs_out_at is None else self.runs_out_at.isoformat(),
            "daily_credits": json_number(round(self.daily_credits, 2)),
        }

    @classmethod
    def from_usage(cls, balance: CreditBalance, usage: dict[str, Any], days: int) -> CreditsRunway:
        """
        Compute it from what ``/v1/analytics/credits`` says.

        :param balance: The balance.
        :param usage: LeadMagic's object.
        :param days: The window it was asked for.
        :raises LeadMagicResponseError: If there is no usable total in it.
        """
        summary = usage.get("summary")
        total = summary.get("total_credits") if isinstance(summary, dict) else None
        if isinstance(total, bool) or not isinstance(total, int | float) or not is_finite(Decimal(str(total))):
            raise LeadMagicResponseError("LeadMagic sent a usage whose `summary.total_credits` is not a finite number")
        return cls(balance, Decimal(str(total)) / days, days)
