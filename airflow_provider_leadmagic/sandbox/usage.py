"""What the account requested and spent: the numbers behind the analytics, and spending that tests record."""

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
    """One request for a product: a hit has its price, a miss is free, an error is free and ``failed``."""

    at: float
    product: str
    credits: Decimal
    failed: bool = False

    @property
    def day(self) -> date:
        """The day it belongs to, in UTC."""
        return utc_day(self.at)


@dataclass(frozen=True)
class Usage:
    """Any number of requests for products."""

    lines: tuple[UsageLine, ...]

    @property
    def requests(self) -> int:
        """The number of requests."""
        return len(self.lines)

    @property
    def chargeable(self) -> int:
        """The number of requests that were charged, which are those that found something."""
        return sum(line.credits > 0 for line in self.lines)

    @property
    def failed(self) -> int:
        """The number of requests that ended with an error."""
        return sum(line.failed for line in self.lines)

    @property
    def credits(self) -> Decimal:
        """The credits that were charged."""
        return sum((line.credits for line in self.lines), Decimal(0))

    def by_product(self) -> dict[str, Usage]:
        """Split by product; products without requests are left out."""
        names = dict.fromkeys(line.product for line in self.lines)
        return {name: Usage(tuple(line for line in self.lines if line.product == name)) for name in names}

    def between(self, first: date, last: date) -> Usage:
        """Select the requests from one day to another, both included."""
        return Usage(tuple(line for line in self.lines if first <= line.day <= last))


@dataclass(frozen=True)
class Window:
    """The requests of a number of days, the last of which is ``end``."""

    usage: Usage
    days: int
    end: date

    @classmethod
    def of(cls, usage: Usage, days: int, end: date) -> Window:
        """Select the requests of a window."""
        return cls(usage.between(end - timedelta(days=days - 1), end), days, end)

    @property
    def period(self) -> dict[str, object]:
        """Describe the window as LeadMagic does: its 30 days up to 1 November start on 2 October, one day too early."""
        return {"start": str(self.end - timedelta(days=self.days)), "end": str(self.end), "days": self.days}

    def daily(self) -> list[tuple[str, Usage]]:
        """Split by day, oldest first; days without requests are included."""
        lines: dict[date, list[UsageLine]] = {self.end - timedelta(days=ago): [] for ago in reversed(range(self.days))}
        for line in self.usage.lines:
            lines[line.day].append(line)
        return [(str(day), Usage(tuple(of_day))) for day, of_day in lines.items()]


def read_usage(ledger: Iterable[Charge], log: Iterable[LoggedRequest]) -> Usage:
    """Combine the ledger, which has every lookup that was served, with the log, which has every one that failed."""
    names = {product.path: product.name for product in PRODUCTS}
    served = [UsageLine(charge.at, charge.product, charge.credits) for charge in ledger]
    failed = [
        UsageLine(entry.at, names[entry.path], Decimal(0), failed=True)
        for entry in log
        if entry.path in names and _failed(entry)
    ]
    return Usage((*served, *failed))


def utc_day(moment: float) -> date:
    """Return the day, in UTC, of a time in seconds since 1970."""
    return datetime.fromtimestamp(moment, UTC).date()


def ratio(part: Decimal | int, whole: Decimal | int) -> Decimal:
    """Divide, rounded to two decimals; a division by 0 gives 0."""
    # Not with round(), which fails for numbers of more than 28 digits.
    return Decimal(f"{Decimal(part) / whole:.2f}") if whole else Decimal(0)


def _failed(entry: LoggedRequest) -> bool:
    # No response is a failure as well. A 401 does not count: without a valid key the request has no account.
    return entry.status is None or (entry.status >= 400 and entry.status != 401)


def _known_product(name: str) -> str:
    names = [product.name for product in PRODUCTS]
    if name not in names:
        raise ValueError(f"product must be one of {', '.join(names)}, not {name!r}")
    return name


Credits = Annotated[Decimal, BeforeValidator(to_credits)]


@pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Spending:
    """
    A lookup that was never made, to give the account a past.

    :param product: the name of the product.
    :param credits: what was charged for it, 0 for a miss.
    :param days_ago: how many days ago it was.
    """

    product: Annotated[str, AfterValidator(_known_product)]
    credits: Credits
    days_ago: Annotated[int, Field(strict=True, ge=0, le=365)] = 0

    def as_charge(self) -> Charge:
        """Build the line of the ledger, at this time of that day."""
        return Charge(time.time() - timedelta(days=self.days_ago).total_seconds(), self.product, self.credits)
