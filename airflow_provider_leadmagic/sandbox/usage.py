"""Usage of the account: the numbers that the analytics endpoints report, and past spending that a test adds to them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

from airflow_provider_leadmagic.sandbox.account import Charge, to_credits
from airflow_provider_leadmagic.sandbox.products import PRODUCTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_leadmagic.sandbox.request_log import LoggedRequest


@dataclass(frozen=True)
class UsageLine:
    """
    One request for a product.

    :param at: When it was made, in seconds since the Unix epoch.
    :param product: The product's name.
    :param credits: The price for a hit; 0 for a miss or an error.
    :param failed: Whether it ended with an error.
    """

    at: float
    product: str
    credits: Decimal
    failed: bool = False

    @property
    def day(self) -> date:
        """The UTC day of the request."""
        return utc_day(self.at)


@dataclass(frozen=True)
class Usage:
    """The totals of any number of requests for products."""

    lines: tuple[UsageLine, ...]

    @property
    def requests(self) -> int:
        """The number of requests."""
        return len(self.lines)

    @property
    def chargeable(self) -> int:
        """The number of requests that were charged: the hits."""
        return sum(line.credits > 0 for line in self.lines)

    @property
    def failed(self) -> int:
        """The number of requests that ended with an error."""
        return sum(line.failed for line in self.lines)

    @property
    def credits(self) -> Decimal:
        """The sum of the credits charged."""
        return sum((line.credits for line in self.lines), Decimal(0))

    def by_product(self) -> dict[str, Usage]:
        """Split the usage by product. Products without requests are omitted."""
        names = dict.fromkeys(line.product for line in self.lines)
        return {name: Usage(tuple(line for line in self.lines if line.product == name)) for name in names}

    def between(self, first: date, last: date) -> Usage:
        """Return the usage from one day to another, both included."""
        return Usage(tuple(line for line in self.lines if first <= line.day <= last))


@dataclass(frozen=True)
class Window:
    """The usage of a number of consecutive days, the last of which is ``end``."""

    usage: Usage
    days: int
    end: date

    @classmethod
    def of(cls, usage: Usage, days: int, end: date) -> Window:
        """Select the usage of the ``days`` days up to and including ``end``."""
        return cls(usage.between(end - timedelta(days=days - 1), end), days, end)

    @property
    def period(self) -> dict[str, object]:
        """The window as LeadMagic reports it. Its start is a day too early: 2 October for the 30 days to 1 November."""
        return {"start": str(self.end - timedelta(days=self.days)), "end": str(self.end), "days": self.days}

    def daily(self) -> list[tuple[str, Usage]]:
        """Split the usage by day, oldest first. Days without requests are included."""
        lines: dict[date, list[UsageLine]] = {self.end - timedelta(days=ago): [] for ago in reversed(range(self.days))}
        for line in self.usage.lines:
            lines[line.day].append(line)
        return [(str(day), Usage(tuple(of_day))) for day, of_day in lines.items()]


def read_usage(ledger: Iterable[Charge], log: Iterable[LoggedRequest]) -> Usage:
    """Combine the successful lookups, which are in the ledger, with the failed ones, which are in the request log."""
    names = {product.path: product.name for product in PRODUCTS}
    served = [UsageLine(charge.at, charge.product, charge.credits) for charge in ledger]
    failed = [
        UsageLine(entry.at, names[entry.path], Decimal(0), failed=True)
        for entry in log
        if entry.path in names and _failed(entry)
    ]
    return Usage((*served, *failed))


def utc_day(moment: float) -> date:
    """Return the UTC day of a time, given in seconds since the Unix epoch."""
    return datetime.fromtimestamp(moment, UTC).date()


def ratio(part: Decimal | int, whole: Decimal | int) -> Decimal:
    """Divide, and round to two decimals. A division by 0 returns 0."""
    # round() fails for numbers of more than 28 digits.
    return Decimal(f"{Decimal(part) / whole:.2f}") if whole else Decimal(0)


def _failed(entry: LoggedRequest) -> bool:
    # A request without a response has failed too. A 401 is not counted: without a valid key it belongs to no account.
    return entry.status is None or (entry.status >= 400 and entry.status != 401)


def _known_product(name: str) -> str:
    names = [product.name for product in PRODUCTS]
    if name not in names:
        raise ValueError(f"product must be one of {', '.join(names)}; got {name!r}")
    return name


Credits = Annotated[Decimal, BeforeValidator(to_credits)]


@pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Spending:
    """
    A made-up lookup in the past, for the analytics to report.

    :param product: ``email_finder``, ``email_validation``, ``mobile_finder`` or ``company_search``.
    :param credits: The credits charged; 0 for a miss.
    :param days_ago: How many days ago it was made, from 0 (today) to 365.
    :raises ValueError: If the product is unknown or a number is out of range.
    """

    product: Annotated[str, AfterValidator(_known_product)]
    credits: Credits
    days_ago: Annotated[int, Field(strict=True, ge=0, le=365)] = 0

    def as_charge(self) -> Charge:
        """Build the ledger entry, dated ``days_ago`` times 24 hours ago."""
        return Charge(time.time() - timedelta(days=self.days_ago).total_seconds(), self.product, self.credits)
