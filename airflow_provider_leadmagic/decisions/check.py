"""What a check makes of a balance: what is asked, what is there, what is short."""

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
    A balance held against what it should reach; what is None was not asked for.

    :param conn_id: The connection.
    :param balance: The balance.
    :param minimum_credits: Credits that must be spendable.
    :param warn_below: Credits below which people want to know.
    :param runway: How long the balance lasts.
    :param minimum_runway_days: Days it must last.
    """

    conn_id: str
    balance: CreditBalance
    minimum_credits: Decimal | None = None
    warn_below: Decimal | None = None
    runway: CreditsRunway | None = None
    minimum_runway_days: Decimal | None = None

    def report(self) -> dict[str, Any]:
        """Describe it in plain JSON: the XCom of the check."""
        report = self.balance.report(self.minimum_credits)
        if self.runway is None or self.minimum_runway_days is None:
            return report
        wanted = {"minimum_runway_days": json_number(self.minimum_runway_days)}
        return {**report, **self.runway.report(), **wanted, "sufficient": not self.shortfalls()}

    def warnings(self) -> list[str]:
        """Say what people want to know in time, in one sentence each."""
        low = []
        if self.warn_below is not None and not self.balance.covers(self.warn_below):
            low.append(f"{self._subject()}, and warn_below is {format_credits(self.warn_below)}.")
        return low + self._short_runway()

    def shortfalls(self) -> list[str]:
        """Say what is not enough, in one sentence each; empty if all is well."""
        short = []
        if self.minimum_credits is not None and not self.balance.covers(self.minimum_credits):
            short.append(f"{self._subject()}, {format_credits(self.minimum_credits)} are needed.")
        return short + self._short_runway()

    @property
    def required(self) -> Decimal | None:
        """Credits that would satisfy everything that is asked; None if that is not known."""
        wanted = [self.minimum_credits]
        if self.runway is not None and self.minimum_runway_days is not None:
            wanted.append(self.runway.credits_for(self.minimum_runway_days))
        return max((amount for amount in wanted if amount is not None), default=None)

    def _short_runway(self) -> list[str]:
        if self.runway is None or self.minimum_runway_days is None:
            return []
        days_left = self.runway.days_left
        if days_left is None or self.runway.covers(self.minimum_runway_days):
            return []
        pace = f"at {format_credits(self.runway.pace)} credits a day, as in the last {self.runway.days} days"
        end = f" (until {self.runway.runs_out_at:%Y-%m-%d %H:%M} UTC)" if self.runway.runs_out_at else ""
        lasts = f"these last {rounded_down(days_left, 1):,.1f} days{end} {pace}"
        return [f"{self._subject()}; {lasts}; minimum_runway_days is {format_credits(self.minimum_runway_days)}."]

    def _subject(self) -> str:
        return f"Connection {self.conn_id!r} can spend {format_credits(self.balance.spendable)} credits"
