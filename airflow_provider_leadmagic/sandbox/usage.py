"""What was requested and spent, counted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from airflow_provider_leadmagic.sandbox.products import PRODUCTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_leadmagic.sandbox.account import Charge
    from airflow_provider_leadmagic.sandbox.request_log import LoggedRequest


@dataclass(frozen=True)
class UsageLine:
    """One request of a product: a hit has its price, a miss is free, an error is also ``failed``."""

    at: float
    product: str
    credits: Decimal
    failed: bool = False

    @property
    def day(self) -> date:
        """The calendar day it belongs to."""
        return utc_day(self.at)


@dataclass(frozen=True)
class Usage:
    """Any number of requests of products."""

    lines: tuple[UsageLine, ...]

    @property
    def requests(self) -> int:
        """How many there are."""
        return len(self.lines)

    @property
    def chargeable(self) -> int:
        """How many were charged: those that found something."""
        return sum(line.credits > 0 for line in self.lines)

    @property
    def failed(self) -> int:
        """How many ended with an error."""
        return sum(line.failed for line in self.lines)

    @property
    def credits(self) -> Decimal:
        """What they cost."""
        return sum((line.credits for line in self.lines), Decimal(0))

    def by_product(self) -> dict[str, Usage]:
        """Split by product; one that was not requested is left out."""
        names = dict.fromkeys(line.product for line in self.lines)
        return {name: Usage(tuple(line for line in self.lines if line.product == name)) for name in names}

    def between(self, first: date, last: date) -> Usage:
        """Keep some days, the last one included."""
        return Usage(tuple(line for line in self.lines if first <= line.day <= last))


@dataclass(frozen=True)
class Window:
    """The requests of so many days, the last of which is ``end``."""

    usage: Usage
    days: int
    end: date

    @classmethod
    def of(cls, usage: Usage, days: int, end: date) -> Window:
        """Cut a window out of a longer usage."""
        return cls(usage.between(end - timedelta(days=days - 1), end), days, end)

    @property
    def period(self) -> dict[str, object]:
        """Name the window as LeadMagic does: its 30 days up to 1 November start on 2 October, the day before them."""
        return {"start": str(self.end - timedelta(days=self.days)), "end": str(self.end), "days": self.days}

    def daily(self) -> list[tuple[str, Usage]]:
        """Split by day, oldest first; a day without requests is not left out."""
        lines: dict[date, list[UsageLine]] = {self.end - timedelta(days=ago): [] for ago in reversed(range(self.days))}
        for line in self.usage.lines:
            lines[line.day].append(line)
        return [(str(day), Usage(tuple(of_day))) for day, of_day in lines.items()]


def read_usage(ledger: Iterable[Charge], log: Iterable[LoggedRequest]) -> Usage:
    """Join the ledger, which has every lookup that was served, with the log, which has every one that failed."""
    names = {product.path: product.name for product in PRODUCTS}
    served = [UsageLine(charge.at, charge.product, charge.credits) for charge in ledger]
    failed = [
        UsageLine(entry.at, names[entry.path], Decimal(0), failed=True)
        for entry in log
        if entry.path in names and _failed(entry)
    ]
    return Usage((*served, *failed))


def utc_day(moment: float) -> date:
    """Find the calendar day of a moment."""
    return datetime.fromtimestamp(moment, UTC).date()


def ratio(part: Decimal | int, whole: Decimal | int) -> Decimal:
    """Divide to two decimals, by nothing to 0."""
    # Not by round(), which refuses a number of more than 28 digits.
    return Decimal(f"{Decimal(part) / whole:.2f}") if whole else Decimal(0)


def _failed(entry: LoggedRequest) -> bool:
    # No answer is a failure as well. A 401 is nobody's request: without a valid key there is no knowing whose.
    return entry.status is None or (entry.status >= 400 and entry.status != 401)
