"""Command ``credits``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from airflow_provider_leadmagic.api.text import format_credits
from airflow_provider_leadmagic.api.validation import parse_credits
from airflow_provider_leadmagic.cli.common import MAX_ATTEMPTS, command, fail, print_error, write, write_json
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

if TYPE_CHECKING:
    from argparse import Namespace
    from decimal import Decimal

    from airflow_provider_leadmagic.api.models import CreditBalance

EXIT_INSUFFICIENT = 1


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
