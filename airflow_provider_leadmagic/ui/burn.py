"""Draw the spending of the last days and its continuation until the credits run out."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_leadmagic.api.analytics import days_of
from airflow_provider_leadmagic.api.text import format_credits
from airflow_provider_leadmagic.api.validation import number_or_none

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Size of the picture and its margins, in the units of the SVG.
WIDTH, HEIGHT = 960.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 16.0, 24.0, 28.0
#: Maximum number of days after today that are drawn.
MAX_FUTURE_DAYS = 30
#: Days between two dates below the axis.
DATE_STEP = 7


class Day(NamedTuple):
    """
    Spending of one day.

    :param date: The day, in UTC.
    :param credits: Credits spent.
    """

    date: date
    credits: Decimal


class Bar(NamedTuple):
    """A bar of the picture; ``title`` is shown on hover."""

    x: float
    y: float
    width: float
    height: float
    title: str


class Mark(NamedTuple):
    """A position on an axis and its label."""

    position: float
    label: str


class BurnChart(NamedTuple):
    """
    Positions of everything in the picture.

    :param bars: One for each day.
    :param dates: Positions on the horizontal axis.
    :param amounts: Positions on the vertical axis.
    :param average: Vertical position of the line of the average, and the average in credits a day.
    :param today: Right end of the last day with a bar.
    :param average_end: Right end of the line of the average.
    :param run_out: Position of the day on which the credits run out; None if it is not drawn.
    """

    bars: Sequence[Bar]
    dates: Sequence[Mark]
    amounts: Sequence[Mark]
    average: Mark
    today: float
    average_end: float
    run_out: Mark | None


def spending_by_day(usage: dict[str, Any], today: date, days: int) -> list[Day]:
    """
    Return the spending of each of the last days, the oldest first. A day that LeadMagic does not list is 0.

    :param usage: Response of ``/v1/analytics/usage``.
    :param today: Last day.
    :param days: Number of days.
    """
    spent: dict[date, Decimal] = defaultdict(Decimal)
    for day, credits in _dated(usage):
        spent[day] += credits
    dates = (today - timedelta(days=ago) for ago in range(days - 1, -1, -1))
    return [Day(day, spent.get(day, Decimal(0))) for day in dates]


def total_spending(usage: dict[str, Any]) -> Decimal | None:
    """
    Return the credits spent in the window; None if the response has an unknown form.

    :param usage: Response of ``/v1/analytics/usage``.
    """
    summary = usage.get("summary")
    total = number_or_none(summary.get("total_credits")) if isinstance(summary, dict) else None
    if total is None and days_of(usage):
        return sum((credits for _, credits in _dated(usage)), Decimal(0))
    return None if total is None else max(total, Decimal(0))


def _dated(usage: dict[str, Any]) -> list[tuple[date, Decimal]]:
    found = []
    for day in days_of(usage):
        credits = number_or_none(day.get("total_credits"))
        try:
            found.append((date.fromisoformat(str(day.get("date"))[:10]), max(credits or Decimal(0), Decimal(0))))
        except ValueError:
            continue
    return found


def spending_by_product(products: Mapping[str, Any] | None) -> list[tuple[str, Decimal]] | None:
    """
    Return each product that spent credits, and the amount, the highest first.

    :param products: Response of ``/v1/analytics/products``; None if it was not read.
    :return: None if the response was not read; an empty list if it has an unknown form.
    """
    if products is None:
        return None
    by_name = products.get("products")
    if not isinstance(by_name, dict):
        return []
    amounts = {
        str(name): number_or_none(totals.get("total_credits")) if isinstance(totals, dict) else None
        for name, totals in by_name.items()
    }
    return sorted(((name, amount) for name, amount in amounts.items() if amount), key=lambda item: -item[1])


def burn_chart(days: Sequence[Day], average: Decimal, runs_out: date | None) -> BurnChart:
    """
    Place the bars of all days, the average, and the day on which the credits run out.

    :param days: One or more days, the oldest first.
    :param average: Credits spent on an average day.
    :param runs_out: Day on which the credits run out at this average; None if they do not.
    """
    first, last = days[0].date, days[-1].date
    future = 0 if runs_out is None else max(0, min((runs_out - last).days, MAX_FUTURE_DAYS))
    step = (WIDTH - LEFT - RIGHT) / (len(days) + future + 1)
    top = _round_up(float(max(average, *(day.credits for day in days))))

    def height_of(credits: Decimal | float) -> float:
        return round(HEIGHT - BOTTOM - float(credits) / top * (HEIGHT - TOP - BOTTOM), 1)

    def left_of(day: date) -> float:
        return round(LEFT + (day - first).days * step, 1)

    bars = [_bar(day, left_of(day.date), height_of(day.credits), step) for day in days]
    end = last + timedelta(days=future)
    drawn = runs_out is not None and last <= runs_out <= end
    return BurnChart(
        bars=bars,
        dates=[
            Mark(left_of(first + timedelta(days=number)), f"{first + timedelta(days=number):%b %d}")
            for number in range(0, len(days) + future, DATE_STEP)
        ],
        amounts=[Mark(height_of(part * top), format_credits(Decimal(str(part * top)))) for part in (0.0, 0.5, 1.0)],
        average=Mark(height_of(average), format_credits(Decimal(f"{average:.2f}"))),
        today=left_of(last + timedelta(days=1)),
        average_end=left_of(end + timedelta(days=1)),
        run_out=Mark(round(left_of(end) + step / 2, 1), f"{end:%b %d}") if drawn else None,
    )


def _bar(day: Day, left: float, upper: float, step: float) -> Bar:
    gap = step * 0.15
    height = round(HEIGHT - BOTTOM - upper, 1)
    title = f"{day.date:%Y-%m-%d}: {format_credits(day.credits)} credits"
    return Bar(round(left + gap, 1), upper, round(step - 2 * gap, 1), height, title)


def _round_up(amount: float) -> float:
    """Round an amount up to a round number whose half is also round, for the end of an axis."""
    if amount <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(amount))
    return next(factor * power for factor in (1, 2, 3, 4, 5, 6, 8, 10) if factor * power >= amount)
