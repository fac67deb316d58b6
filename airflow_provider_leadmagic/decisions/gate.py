"""Evaluate one poll, with the same verdict and the same log line in every sensor mode."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from airflow_provider_leadmagic.api.text import format_credits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from airflow_provider_leadmagic.api.models import CreditBalance
    from airflow_provider_leadmagic.compat.imports import Log
    from airflow_provider_leadmagic.decisions.claims import Standing
    from airflow_provider_leadmagic.exceptions import LeadMagicError

#: Longest ``Retry-After`` that is honored, in seconds. LeadMagic has daily limits, so a day is plausible; after a
#: wait of a year the sensor would be useless.
MAX_REQUESTED_WAIT = 86_400.0
#: Shortest interval without a warning, in seconds. LeadMagic asks clients to cache a balance for 1 to 5 minutes.
POLITE_INTERVAL = 10.0


def warn_about_short_interval(log: Log, poke_interval: float) -> None:
    """
    Log a warning if the interval is shorter than :data:`POLITE_INTERVAL`, as in demos and tests.

    :param log: Logger of the sensor or its trigger.
    :param poke_interval: Seconds between two polls.
    """
    if poke_interval < POLITE_INTERVAL:
        advice = "LeadMagic asks clients to cache a balance for 1 to 5 minutes"
        log.warning("poke_interval of %g s is short: %s.", poke_interval, advice)


def is_sufficient(
    log: Log,
    balance: CreditBalance,
    minimum_credits: Decimal,
    conn_id: str,
    next_poll_in: float | None,
    standing: Standing | None = None,
) -> bool:
    """
    Return whether a balance covers the required credits, and log the result.

    :param log: Logger of the sensor or its trigger.
    :param balance: The balance that was read.
    :param minimum_credits: Credits that must be spendable.
    :param conn_id: Connection the balance belongs to.
    :param next_poll_in: Seconds until the next poll; ``math.inf`` if the timeout comes first, None if unknown.
    :param standing: Result of the claim decision, for a task that claims credits. It replaces the check of the balance.
    """
    amounts = describe_amounts(balance, minimum_credits, standing)
    if standing.is_granted if standing else balance.covers(minimum_credits):
        log.info("Credits sufficient: %s on connection %r.", amounts, conn_id)
        return True
    spendable, required = format_credits(balance.spendable), format_credits(minimum_credits)
    if balance.is_frozen and not balance.covers(minimum_credits):
        reason = f' ("{balance.freeze_message}")' if balance.freeze_message else ""
        cause = f"account frozen by LeadMagic{reason}, {spendable} of {required} required credits spendable"
    else:
        available = standing.available if standing else balance.spendable
        cause = f"{format_credits(minimum_credits - available)} short ({amounts})"
    log.info("Waiting for credits: %s on connection %r.%s", cause, conn_id, _next_poll(next_poll_in))
    return False


def describe_amounts(balance: CreditBalance, minimum_credits: Decimal, standing: Standing | None) -> str:
    """
    Return the amounts on which a verdict is based: ``1,050 spendable, 700 claimed by 2 runs, 500 required``.

    :param balance: The balance that was read.
    :param minimum_credits: Required credits.
    :param standing: Result of the claim decision, for a task that claims credits.
    """
    spendable, required = format_credits(balance.spendable), format_credits(minimum_credits)
    others = _describe_others(balance, standing) if standing else []
    return ", ".join([f"{spendable} spendable", *others, f"{required} required"])


def _describe_others(balance: CreditBalance, standing: Standing) -> Iterator[str]:
    if standing.claimed:
        yield f"{format_credits(standing.claimed)} claimed by {_count(standing.runs, 'run')}"
    if standing.ahead and not standing.is_granted:
        kept = standing.kept_for_tasks_ahead(balance.spendable)
        yield f"{format_credits(kept)} kept for tasks ahead" if kept else f"{_count(standing.ahead, 'task')} ahead"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def tolerate_failed_poll(log: Log, error: LeadMagicError, failures: int, next_poll_in: float | None) -> None:
    """
    Log a transient error as a reason to keep waiting; raise any other error.

    :param log: Logger of the sensor or its trigger.
    :param error: The error of the poll.
    :param failures: Number of consecutive failed polls, including this one.
    :param next_poll_in: Seconds until the next poll; ``math.inf`` if the timeout comes first, None if unknown.
    :raises LeadMagicError: The same error, if it is not transient.
    """
    if not error.transient:
        raise error
    log.warning("Waiting for credits: poll failed (%d in a row)%s: %s", failures, describe_retry(next_poll_in), error)


def requested_wait(error: LeadMagicError | None) -> float:
    """Return the minimum wait before the next poll in seconds, from ``Retry-After``; 0 if there is none."""
    return min((error and error.retry_after) or 0.0, MAX_REQUESTED_WAIT)


def format_seconds(seconds: float) -> str:
    """Format a duration for a log line: in whole seconds, below 10 with one decimal."""
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.1f}".removesuffix(".0")


def describe_retry(next_poll_in: float | None) -> str:
    """
    Return the part of a log line that states when a failed poll is retried; empty if unknown.

    :param next_poll_in: Seconds until the next poll; ``math.inf`` if the timeout comes first, None if unknown.
    """
    if next_poll_in is None:
        return ""
    if math.isinf(next_poll_in):
        return ", no further poll before the timeout"
    return f", retrying in {format_seconds(next_poll_in)} s"


def _next_poll(next_poll_in: float | None) -> str:
    if next_poll_in is None:
        return ""
    if math.isinf(next_poll_in):
        return " No further poll before the timeout."
    return f" Next poll in {format_seconds(next_poll_in)} s."
