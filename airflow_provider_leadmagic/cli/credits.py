"""
Commands ``credits`` and ``usage``.

The format of usage reports is undocumented: missing or invalid values are shown as a dash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.progress_bar import ProgressBar
from rich.table import Table

from airflow_provider_leadmagic.api.analytics import MAX_DAYS, checked_days, days_of
from airflow_provider_leadmagic.api.models import rounded_down
from airflow_provider_leadmagic.api.text import describe_value, format_credits, redact
from airflow_provider_leadmagic.api.validation import number_or_none, parse_credits
from airflow_provider_leadmagic.cli.common import MAX_ATTEMPTS, command, fail, print_error, write, write_json
from airflow_provider_leadmagic.exceptions import LeadMagicError
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence
    from decimal import Decimal

    from airflow_provider_leadmagic.api.models import CreditBalance
    from airflow_provider_leadmagic.client import LeadMagicClient

EXIT_INSUFFICIENT = 1
RUNWAY_DAYS = 7
COLUMNS = {"Requests": "total_requests", "Chargeable": "chargeable_requests", "Credits": "total_credits"}
UNKNOWN = "-"


@command
def credits(options: Namespace) -> int:
    """
    Show the balance of a connection, and exit with 1 if it is below ``--minimum``.

    :param options: Parsed arguments.
    """
    minimum = None if options.minimum is None else _parse_minimum(options.minimum)
    balance = LeadMagicHook(options.conn_id, max_attempts=MAX_ATTEMPTS).get_credits(refresh=options.refresh)
    if options.output == "json":
        write_json(balance.report(minimum))
    else:
        write(_balance_table(balance, options.conn_id))
    if minimum is None or balance.covers(minimum):
        return 0
    spendable, required = format_credits(balance.spendable), format_credits(minimum)
    print_error(f"Not enough credits: {spendable} spendable, --minimum is {required}.")
    return EXIT_INSUFFICIENT


def _parse_minimum(text: str) -> Decimal:
    try:
        return parse_credits("--minimum", text)
    except ValueError as error:
        fail(str(error))


def _balance_table(balance: CreditBalance, conn_id: str) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row("Credits", format_credits(balance.credits))
    table.add_row("Spendable", format_credits(balance.spendable))
    table.add_row("Frozen", _describe_freeze(balance))
    table.add_row("Connection", conn_id)
    table.add_row("Read at", f"{balance.observed_at:%Y-%m-%d %H:%M:%S} UTC")
    return table


def _describe_freeze(balance: CreditBalance) -> str:
    if not balance.is_frozen:
        return "no"
    return f"yes: {balance.freeze_message}" if balance.freeze_message else "yes"


@command
def usage(options: Namespace) -> int:
    """
    Show requests and spending by day. Below the table (not in JSON), also show how long the credits last.

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
