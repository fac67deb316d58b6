"""LeadMagic's analytics: requests and credits spent. Reading them is free."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from airflow_provider_leadmagic.api.text import describe_value

if TYPE_CHECKING:
    from airflow_provider_leadmagic.api.retry import Calls

#: Longest window of LeadMagic's analytics, in days.
MAX_DAYS = 90


class Analytics:
    """
    The seven endpoints under ``/v1/analytics``, available as ``client.analytics``.

    Each method returns LeadMagic's JSON object. LeadMagic's documentation disagrees on whether the object is wrapped
    in ``data``: both forms are supported, and the object is returned without the wrapper.

    Every method raises :class:`~airflow_provider_leadmagic.exceptions.LeadMagicError` if LeadMagic rejects the request
    or does not respond, and ValueError for an invalid window or date.

    :param calls: Sends the requests.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def dashboard(self) -> dict[str, Any]:
        """Return the balance, the rate limits, and the totals of today, this week and this month."""
        return self._object("dashboard")

    def usage(self, days: int = 30) -> dict[str, Any]:
        """
        Return requests and credits per day.

        :param days: Length of the window that ends today, 1 to 90; 30 by default.
        """
        return self._object("usage", days=checked_days(days))

    def products(self, days: int = 30) -> dict[str, Any]:
        """
        Return requests and credits per product.

        :param days: Length of the window that ends today, 1 to 90; 30 by default.
        """
        return self._object("products", days=checked_days(days))

    def credits(self, days: int = 30) -> dict[str, Any]:
        """
        Return the credits spent, in total and per day.

        :param days: Length of the window that ends today, 1 to 90; 30 by default.
        """
        return self._object("credits", days=checked_days(days))

    def summary(self, start_date: date | str | None = None, end_date: date | str | None = None) -> dict[str, Any]:
        """
        Return the totals of the account, for all time or for a period.

        :param start_date: First day of the period, a date or ``YYYY-MM-DD``.
        :param end_date: Last day of the period, a date or ``YYYY-MM-DD``.
        """
        first, last = _optional_date("start_date", start_date), _optional_date("end_date", end_date)
        if first and last and first > last:
            raise ValueError(f"start_date must not be after end_date; got {first} and {last}")
        return self._object("summary", start_date=first, end_date=last)

    def daily(self, days: int = 30) -> dict[str, Any]:
        """
        Return volume, latency and error rate per day.

        :param days: Length of the window that ends today, 1 to 90; 30 by default.
        """
        return self._object("daily", days=checked_days(days))

    def day(self, day: date | str) -> dict[str, Any]:
        """
        Return the totals of one day, per product.

        :param day: A date or ``YYYY-MM-DD``.
        """
        return self._object(f"day/{_checked_date('day', day)}")

    def _object(self, name: str, **parameters: object) -> dict[str, Any]:
        query = urlencode({key: value for key, value in parameters.items() if value is not None})
        body = self._calls.free("GET", f"/v1/analytics/{name}{'?' if query else ''}{query}").json_object()
        wrapped = body.get("data")  # in the response of /daily, `data` is a list and not a wrapper
        return wrapped if isinstance(wrapped, dict) else body


def checked_days(days: object) -> int:
    """
    Check that LeadMagic accepts the length of a window.

    :raises ValueError: If it is not a whole number from 1 to 90.
    """
    if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= MAX_DAYS:
        raise ValueError(f"days must be a whole number from 1 to {MAX_DAYS}; got {describe_value(days)}")
    return days


def days_of(usage: dict[str, Any]) -> list[dict[str, Any]]:
    """
    Return the days in the response of an endpoint; an empty list if its form is unknown.

    :param usage: Response of :meth:`Analytics.usage` or :meth:`Analytics.credits`.
    """
    daily = usage.get("daily")
    return [day for day in daily if isinstance(day, dict)] if isinstance(daily, list) else []


def _optional_date(argument: str, value: object) -> str | None:
    return None if value is None else _checked_date(argument, value)


def _checked_date(argument: str, value: object) -> str:
    try:
        return _as_date(value).isoformat()
    except ValueError:
        raise ValueError(f"{argument} must be a date, or text like 2026-01-31; got {describe_value(value)}") from None


def _as_date(value: object) -> date:
    if isinstance(value, datetime):  # a subclass of date whose isoformat() includes the time
        return value.date()
    if isinstance(value, date):
        return value
    if isinstance(value, str):
        return date.fromisoformat(value)
    raise ValueError
