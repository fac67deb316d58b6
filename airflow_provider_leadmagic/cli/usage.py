"""Command ``usage``. The response format is undocumented; missing or invalid values are shown as a dash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.progress_bar import ProgressBar
from rich.table import Table

from airflow_provider_leadmagic.api.analytics import MAX_DAYS, checked_days, days_of
from airflow_provider_leadmagic.api.models import rounded_down
from airflow_provider_leadmagic.api.text import describe_value, format_credits, redact
from airflow_provider_leadmagic.api.validation import number_or_none
from airflow_provider_leadmagic.cli.common import MAX_ATTEMPTS, command, fail, write, write_json
from airflow_provider_leadmagic.exceptions import LeadMagicError
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from airflow_provider_leadmagic.client import LeadMagicClient

RUNWAY_DAYS = 7


@command
def usage(options: Namespace) -> int:
    """
    Show requests and spending by day, and in the table also how long the credits last.

    :param options: Parsed arguments.
    """
    days = _parse_days(options.days)
    with LeadMagicHook(options.conn_id, max_attempts=MAX_ATTEMPTS).get_conn() as client:
        response = client.analytics.usage(days)
        if options.output == "json":
            write_json(response)
        else:
            write(usage_table(response), "", _describe_runway(client))
    return 0


def _parse_days(text: str) -> int:
    try:
        return checked_days(int(text))
    except ValueError:
        fail(f"--days must be a whole number from 1 to {MAX_DAYS}; got {describe_value(text)}")


def _describe_runway(client: LeadMagicClient) -> str:
    try:
        runway = client.credits_runway(RUNWAY_DAYS)
    except LeadMagicError as error:
        return f"Runway unknown: {error}"
    spendable = f"{format_credits(runway.balance.spendable)} spendable"
    if runway.days_left is None:
        return f"No spending in the last {RUNWAY_DAYS} days: {spendable}."
    end = f", used up by {runway.runs_out_at:%Y-%m-%d}" if runway.runs_out_at else ""
    return (
        f"Credits last {rounded_down(runway.days_left, 1):,.1f} days: {spendable} at "
        f"{format_credits(runway.pace)} credits a day (average of the last {RUNWAY_DAYS} days){end}."
    )


COLUMNS = {"Requests": "total_requests", "Chargeable": "chargeable_requests", "Credits": "total_credits"}
UNKNOWN = "-"


def usage_table(usage: dict[str, Any]) -> Table:
    """
    Build a table with one row per day, oldest first, with a bar for its credits, and the totals below.

    :param usage: Response of LeadMagic's ``/v1/analytics/usage``.
    """
    summary = usage.get("summary")
    totals = _cells(summary if isinstance(summary, dict) else {})
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False, show_footer=True)
    table.add_column("Date", "Total", no_wrap=True)
    for title, total in zip(COLUMNS, totals, strict=True):
        table.add_column(title, total, justify="right", no_wrap=True, max_width=20)
    table.add_column(max_width=40)  # the bars: the only column that shrinks in a narrow terminal
    _add_days(table, sorted(days_of(usage), key=_date))
    return table


def _add_days(table: Table, days: Sequence[dict[str, Any]]) -> None:
    spent = [float(number_or_none(day.get(COLUMNS["Credits"])) or 0) for day in days]
    peak = max([*spent, 0]) or 1
    for day, credits in zip(days, spent, strict=True):
        table.add_row(_date(day), *_cells(day), ProgressBar(total=1, completed=credits / peak))


def _date(day: dict[str, Any]) -> str:
    return (redact(day.get("date")) or UNKNOWN)[: len("2026-01-31")]


def _cells(source: dict[str, Any]) -> list[str]:
    numbers = [number_or_none(source.get(field)) for field in COLUMNS.values()]
    return [UNKNOWN if number is None else format_credits(number) for number in numbers]
