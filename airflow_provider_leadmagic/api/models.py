"""Balance and runway of an account. Amounts are Decimals, never floats."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.text import json_number, redact
from airflow_provider_leadmagic.api.validation import is_finite
from airflow_provider_leadmagic.exceptions import LeadMagicResponseError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class CreditBalance:
    """
    The credits of an account at one moment.

    :param credits: Total reported by the API.
    :param observed_at: Time of the request (UTC).
    :param is_frozen: Whether LeadMagic has frozen credits of the account.
    :param credits_frozen: Frozen part, if reported.
    :param credits_liquid: Spendable part, if reported.
    :param freeze_message: LeadMagic's reason for the freeze.
    """

    credits: Decimal
    observed_at: datetime
    is_frozen: bool = False
    credits_frozen: Decimal | None = None
    credits_liquid: Decimal | None = None
    freeze_message: str | None = None

    @property
    def spendable(self) -> Decimal:
        """Credits that can be spent now."""
        if self.credits_liquid is not None:
            return self.credits_liquid
        return Decimal(0) if self.is_frozen else self.credits

    def covers(self, minimum_credits: Decimal) -> bool:
        """Return whether at least this many credits can be spent."""
        return self.spendable >= minimum_credits

    def report(self, minimum_credits: Decimal | None = None) -> dict[str, Any]:
        """
        Return the balance and its comparison with a threshold as plain JSON, for XComs.

        :param minimum_credits: Threshold; without one, ``minimum_credits`` and ``sufficient`` are None.
        """
        return {
            "credits": json_number(self.credits),
            "spendable": json_number(self.spendable),
            "is_frozen": self.is_frozen,
            "freeze_message": self.freeze_message,
            "observed_at": self.observed_at.isoformat(),
            "minimum_credits": None if minimum_credits is None else json_number(minimum_credits),
            "sufficient": None if minimum_credits is None else self.covers(minimum_credits),
        }

    def to_json(self) -> dict[str, Any]:
        """Return all fields as plain JSON, with credits as text to keep them exact."""
        fields = {name: str(value) if isinstance(value, Decimal) else value for name, value in asdict(self).items()}
        return {**fields, "observed_at": self.observed_at.isoformat()}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> CreditBalance:
        """Convert the output of :meth:`to_json` back. Unknown fields of other versions are ignored."""
        known = {field.name: fields[field.name] for field in dataclass_fields(cls) if field.name in fields}
        amounts = ("credits", "credits_frozen", "credits_liquid")
        numbers = {name: Decimal(known[name]) for name in amounts if known.get(name) is not None}
        return cls(**{**known, **numbers, "observed_at": datetime.fromisoformat(fields["observed_at"])})

    @classmethod
    def from_api(cls, body: object, redact: Callable[[object], str | None] = redact) -> CreditBalance:
        """
        Convert the response of ``GET /v1/credits``.

        Only ``credits`` is required. An invalid number or flag is an error, because it can determine which credits can
        be spent.

        :param body: JSON whose numbers were parsed as Decimals.
        :param redact: Prepares text from the response for messages and hides the API key in it.
        :raises LeadMagicResponseError: If ``credits`` is missing, or a number or flag is invalid.
        """
        if not isinstance(body, dict) or body.get("credits") is None:
            raise LeadMagicResponseError("Invalid balance: `credits` is missing")
        return cls(
            credits=_number(body, "credits") or Decimal(0),
            observed_at=datetime.now(UTC),
            is_frozen=_flag(body, "is_frozen"),
            credits_frozen=_number(body, "credits_frozen"),
            credits_liquid=_number(body, "credits_liquid"),
            freeze_message=redact(body.get("credit_freeze_message")),
        )


def _number(body: dict[str, Any], field: str) -> Decimal | None:
    value = body.get(field)
    if value is None or (isinstance(value, Decimal) and is_finite(value)):
        return value
    raise LeadMagicResponseError(f"Invalid balance: `{field}` is not a finite number")


def _flag(body: dict[str, Any], field: str) -> bool:
    value = body.get(field)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise LeadMagicResponseError(f"Invalid balance: `{field}` is not true or false")


@dataclass(frozen=True)
class CreditsRunway:
    """
    The time until the spendable credits run out.

    :param balance: Current balance.
    :param spent: Credits spent in the window.
    :param days: Length of the window that ends today, in days.
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
        """Credits spent on an average day, rounded to two decimals for messages and reports."""
        # round() rejects numbers of more than 28 digits.
        return Decimal(f"{self.daily_credits:.2f}")

    @property
    def days_left(self) -> Decimal | None:
        """Days until no spendable credits are left; None if some are left and none were spent in the window."""
        if self.balance.spendable <= 0:
            return Decimal(0)  # even if nothing was spent, because nothing could be
        if self.spent <= 0:
            return None
        # Dividing by ``daily_credits`` would be inexact. If 10 credits were spent in 7 days, 10 / 7 has no exact
        # decimal, but a balance of 10 credits must last 7 days.
        return self.balance.spendable * self.days / self.spent

    @property
    def runs_out_at(self) -> datetime | None:
        """Time (UTC) when the credits run out; None if :attr:`days_left` is None or the time is after the year 9999."""
        if self.days_left is None:
            return None
        try:
            return self.balance.observed_at + timedelta(days=float(self.days_left))
        except OverflowError:
            return None

    def covers(self, minimum_days: Decimal) -> bool:
        """Return whether the credits last for at least a number of days."""
        return self.days_left is None or self.days_left >= minimum_days

    def credits_for(self, days: Decimal) -> Decimal | None:
        """Return how many credits last for a number of days; None if none were spent in the window."""
        return self.spent * days / self.days if self.spent > 0 else None

    def report(self) -> dict[str, Any]:
        """Return the runway as plain JSON."""
        return {
            "runway_days": None if self.days_left is None else json_number(rounded_down(self.days_left, 2)),
            "runs_out_at": None if self.runs_out_at is None else self.runs_out_at.isoformat(),
            "daily_credits": json_number(self.pace),
        }

    @classmethod
    def from_usage(cls, balance: CreditBalance, usage: dict[str, Any], days: int) -> CreditsRunway:
        """
        Compute the runway from a balance and the response of ``/v1/analytics/credits``.

        :param balance: Current balance.
        :param usage: LeadMagic's JSON object.
        :param days: Length of the requested window, in days.
        :raises LeadMagicResponseError: If the total is missing or invalid.
        """
        summary = usage.get("summary")
        total = summary.get("total_credits") if isinstance(summary, dict) else None
        if isinstance(total, bool) or not isinstance(total, int | float) or not is_finite(Decimal(str(total))):
            raise LeadMagicResponseError("Invalid usage report: `summary.total_credits` is not a finite number")
        return cls(balance, Decimal(str(total)), days)


def rounded_down(number: Decimal, places: int) -> Decimal:
    """Round down, so that a shortfall is never displayed as sufficient."""
    return Decimal(math.floor(number.scaleb(places))).scaleb(-places)
