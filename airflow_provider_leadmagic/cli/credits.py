"""The command ``credits``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from airflow_provider_leadmagic.api.text import format_credits
from airflow_provider_leadmagic.api.validation import parse_credits
from airflow_provider_leadmagic.cli.common import MAX_ATTEMPTS, command, write, write_json
from airflow_provider_leadmagic.cli.errors import complain, fail
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

if TYPE_CHECKING:
    from argparse import Namespace
    from decimal import Decimal

    from airflow_provider_leadmagic.api.models import CreditBalance

EXIT_INSUFFICIENT = 1


@command
def credits(options: Namespace) -> int:
    """
    Show the balance of a connection, and whether it reaches a minimum.

    :param options: The parsed arguments.
    """
    minimum = None if options.minimum is None else _checked_minimum(options.minimum)
    balance = LeadMagicHook(options.conn_id, max_attempts=MAX_ATTEMPTS).get_credits(refresh=options.refresh)
    if options.output == "json":
        write_json(balance.report(minimum))
    else:
        write(_table(balance, options.conn_id))
    if minimum is None or balance.covers(minimum):
        return 0
    complain(f"{format_credits(balance.spendable)} credits can be spent, which is below {format_credits(minimum)}")
    return EXIT_INSUFFICIENT


def _checked_minimum(text: str) -> Decimal:
    try:
        return parse_credits("--minimum", text)
    except ValueError as error:
        fail(str(error))


def _table(balance: CreditBalance, conn_id: str) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row("Credits", format_credits(balance.credits))
    table.add_row("Spendable", format_credits(balance.spendable))
    table.add_row("Frozen", _freeze(balance))
    table.add_row("Connection", conn_id)
    table.add_row("Read at", f"{balance.observed_at:%Y-%m-%d %H:%M:%S} UTC")
    return table


def _freeze(balance: CreditBalance) -> str:
    if not balance.is_frozen:
        return "no"
    return f"yes: {balance.freeze_message}" if balance.freeze_message else "yes"
