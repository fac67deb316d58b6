"""How long the credits last at the pace at which they are being spent."""

from __future__ import annotations

import math
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
    :param spent: Credits spent in the last days.
    :param days: How many days that were, today included.
    """

    balance: CreditBalance
    spent: Decimal
    days: int

    @property
    def daily_credits(self) -> Decimal:
        """Credits spent on an average day."""
        return self.spent / self.days

    @property
    def pace(self) -> Decimal:
        """Credits spent on an average day, to two decimals: the number that people and reports see."""
        # Not by round(), which refuses a number of more than 28 digits.
        return Decimal(f"{self.daily_credits:.2f}")

    @property
    def days_left(self) -> Decimal | None:
        """Days until nothing is left; None when nothing was spent of what there is, so that no end is in sight."""
        if self.balance.spendable <= 0:
            return Decimal(0)  # an account that has run dry spends nothing either
        if self.spent <= 0:
            return None
        # Not by the daily average: that is rounded, and ten credits at ten a week would last less than a week.
        return self.balance.spendable * self.days / self.spent

    @property
    def runs_out_at(self) -> datetime | None:
        """The moment (UTC) when nothing is left; None when no end is in sight, or it lies beyond the year 9999."""
        if self.days_left is None:
            return None
        try:
            return self.balance.observed_at + timedelta(days=float(self.days_left))
        except OverflowError:
            return None

    def covers(self, minimum_days: Decimal) -> bool:
        """Tell whether the credits last for so many days: the one place where the two meet."""
        return self.days_left is None or self.days_left >= minimum_days

    def credits_for(self, days: Decimal) -> Decimal | None:
        """Tell how many credits last for so many days; None when nothing was spent."""
        return self.spent * days / self.days if self.spent > 0 else None

    def report(self) -> dict[str, Any]:
        """Describe the runway in plain JSON."""
        return {
            "runway_days": None if self.days_left is None else json_number(rounded_down(self.days_left, 2)),
            "runs_out_at": None if self.runs_out_at is None else self.runs_out_at.isoformat(),
            "daily_credits": json_number(self.pace),
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
        return cls(balance, Decimal(str(total)), days)


def rounded_down(number: Decimal, places: int) -> Decimal:
    """Round in the direction in which what is too little does not come to look like enough."""
    return Decimal(math.floor(number.scaleb(places))).scaleb(-places)
