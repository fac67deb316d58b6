"""What LeadMagic says about an account, in types that cannot lie about money."""

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

    :param credits: The number the API reports.
    :param observed_at: When it was read (UTC).
    :param is_frozen: Whether LeadMagic holds the account's credits back.
    :param credits_frozen: The part held back, where the API names it.
    :param credits_liquid: The part that can be spent, where the API names it.
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
        """What can be spent now."""
        if self.credits_liquid is not None:
            return self.credits_liquid
        return Decimal(0) if self.is_frozen else self.credits

    def covers(self, minimum_credits: Decimal) -> bool:
        """Tell whether the spendable credits reach the threshold: the one place where the two meet."""
        return self.spendable >= minimum_credits

    def report(self, minimum_credits: Decimal | None = None) -> dict[str, Any]:
        """
        Describe the balance, and how it compares, in plain JSON: the XCom of every task of this provider.

        :param minimum_credits: The threshold; without one, ``minimum_credits`` and ``sufficient`` are None.
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
        """Describe every field in plain JSON, credits as text so that none is lost on the way."""
        fields = {name: str(value) if isinstance(value, Decimal) else value for name, value in asdict(self).items()}
        return {**fields, "observed_at": self.observed_at.isoformat()}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> CreditBalance:
        """Rebuild the balance that :meth:`to_json` described; a field this version does not know is passed over."""
        known = {field.name: fields[field.name] for field in dataclass_fields(cls) if field.name in fields}
        amounts = ("credits", "credits_frozen", "credits_liquid")
        numbers = {name: Decimal(known[name]) for name in amounts if known.get(name) is not None}
        return cls(**{**known, **numbers, "observed_at": datetime.fromisoformat(fields["observed_at"])})

    @classmethod
    def from_api(cls, body: object, redact: Callable[[object], str | None] = redact) -> CreditBalance:
        """
        Read the body of ``GET /v1/credits``, whose numbers were parsed as Decimal.

        Only ``credits`` is promised. The freeze fields are optional, but as they decide what can be spent, one
        that is there and has the wrong type is refused rather than ignored.

        :param body: The parsed JSON.
        :param redact: Makes the server's text fit for a message, and hides what must not be in one.
        :raises LeadMagicResponseError: If the body is no object, or a number or flag in it is unusable.
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
            raise LeadMagicResponseError("Invalid usage report: `summary.total_credits` is not a finite number")
        return cls(balance, Decimal(str(total)), days)


def rounded_down(number: Decimal, places: int) -> Decimal:
    """Round in the direction in which what is too little does not come to look like enough."""
    return Decimal(math.floor(number.scaleb(places))).scaleb(-places)
