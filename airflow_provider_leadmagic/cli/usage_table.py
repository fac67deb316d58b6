"""LeadMagic's usage as a table. Nothing of its form is promised: what is missing or odd is shown as a dash."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from rich import box
from rich.progress_bar import ProgressBar
from rich.table import Table

from airflow_provider_leadmagic.api.models import format_credits, is_finite
from airflow_provider_leadmagic.api.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = {"Requests": "total_requests", "Chargeable": "chargeable_requests", "Credits": "total_credits"}
UNKNOWN = "-"


def usage_table(usage: dict[str, Any]) -> Table:
    """
    Lay out a row for each day, oldest first, with a bar for its credits, and the totals below.

    :param usage: LeadMagic's object.
    """
    summary = usage.get("summary")
    totals = _cells(summary if isinstance(summary, dict) else {})
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False, show_footer=True)
    table.add_column("Date", "Total", no_wrap=True)
    for title, total in zip(COLUMNS, totals, strict=True):
        table.add_column(title, total, justify="right", no_wrap=True, max_width=20)
    table.add_column(max_width=40)  # the only one that gives way where the terminal is narrow
    _add_days(table, sorted(_days(usage), key=_date))
    return table


def _days(usage: dict[str, Any]) -> list[dict[str, Any]]:
    daily = usage.get("daily")
    return [day for day in daily if isinstance(day, dict)] if isinstance(daily, list) else []


def _add_days(table: Table, days: Sequence[dict[str, Any]]) -> None:
    spent = [float(_number(day.get(COLUMNS["Credits"])) or 0) for day in days]
    peak = max([*spent, 0]) or 1
    for day, credits in zip(days, spent, strict=True):
        table.add_row(_date(day), *_cells(day), ProgressBar(total=1, completed=credits / peak))


def _date(day: dict[str, Any]) -> str:
    return (clean(day.get("date")) or UNKNOWN)[: len("2026-01-31")]


def _cells(source: dict[str, Any]) -> list[str]:
    numbers = [_number(source.get(field)) for field in COLUMNS.values()]
    return [UNKNOWN if number is None else format_credits(number) for number in numbers]


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if is_finite(number) else None
