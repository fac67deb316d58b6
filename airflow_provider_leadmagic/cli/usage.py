"""The command ``usage``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_leadmagic.api.analytics import MAX_DAYS, checked_days
from airflow_provider_leadmagic.api.models import format_credits, rounded_down
from airflow_provider_leadmagic.api.text import shown
from airflow_provider_leadmagic.cli.command import MAX_TRIES, command
from airflow_provider_leadmagic.cli.errors import fail
from airflow_provider_leadmagic.cli.output import write, write_json
from airflow_provider_leadmagic.cli.usage_table import usage_table
from airflow_provider_leadmagic.exceptions import LeadMagicError
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

if TYPE_CHECKING:
    from argparse import Namespace

    from airflow_provider_leadmagic.client import LeadMagicClient

RUNWAY_DAYS = 7


@command
def usage(options: Namespace) -> int:
    """
    Show requests and credits day by day, and how long the credits last.

    :param options: The parsed arguments.
    """
    days = _checked_days(options.days)
    with LeadMagicHook(options.conn_id, max_tries=MAX_TRIES).get_conn() as client:
        answer = client.analytics.usage(days)
        if options.output == "json":
            write_json(answer)
        else:
            write(usage_table(answer), "", _describe_runway(client))
    return 0


def _checked_days(text: str) -> int:
    try:
        return checked_days(int(text))
    except ValueError:
        fail(f"--days must be a whole number from 1 to {MAX_DAYS}; got {shown(text)}")


def _describe_runway(client: LeadMagicClient) -> str:
    try:
        runway = client.credits_runway(RUNWAY_DAYS)
    except LeadMagicError as error:
        return f"How long the credits last is not known: {error}"
    spendable = f"{format_credits(runway.balance.spendable)} credits can be spent"
    if runway.days_left is None:
        return f"{spendable}; none were in the last {RUNWAY_DAYS} days."
    until = f", until {runway.runs_out_at:%Y-%m-%d}" if runway.runs_out_at else ""
    return (
        f"{spendable}: enough for {rounded_down(runway.days_left, 1):,.1f} days{until}, "
        f"at the last {RUNWAY_DAYS} days' {format_credits(runway.pace)} a day."
    )
