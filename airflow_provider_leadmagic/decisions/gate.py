"""What a gate makes of one look at the balance: the same verdict and the same words in every sensor mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_leadmagic.api.text import format_credits

if TYPE_CHECKING:
    from decimal import Decimal

    from airflow_provider_leadmagic.api.models import CreditBalance
    from airflow_provider_leadmagic.compat.imports import Log
    from airflow_provider_leadmagic.exceptions import LeadMagicError

#: Longest ``Retry-After`` a gate honours, in seconds. LeadMagic has daily limits, so a day makes sense; a year would
#: be a gate that never opens again.
MAX_REQUESTED_WAIT = 86_400.0


#: Seconds. LeadMagic asks its clients to cache a balance for one to five minutes.
POLITE_INTERVAL = 10.0


def warn_of_short_interval(log: Log, poke_interval: float) -> None:
    """
    Warn where looks follow each other faster than LeadMagic likes; demos and tests do that.

    :param log: Logger of the sensor or its trigger.
    :param poke_interval: Seconds from one look to the next.
    """
    if poke_interval < POLITE_INTERVAL:
        log.warning("poke_interval is %g s; LeadMagic asks for one look in one to five minutes.", poke_interval)


def is_sufficient(log: Log, balance: CreditBalance, minimum_credits: Decimal, conn_id: str) -> bool:
    """
    Judge a balance, and say in one log line what is there and what is missing.

    :param log: Logger of the sensor or its trigger.
    :param balance: What was seen.
    :param minimum_credits: The threshold.
    :param conn_id: Connection the balance belongs to.
    """
    spendable, minimum = format_credits(balance.spendable), format_credits(minimum_credits)
    if balance.covers(minimum_credits):
        log.info("Gate open: connection %r can spend %s credits, %s are needed.", conn_id, spendable, minimum)
        return True
    missing = format_credits(minimum_credits - balance.spendable)
    frozen = f" The account is frozen: {balance.freeze_message or 'no reason given'}." if balance.is_frozen else ""
    log.info(
        "Gate closed: connection %r can spend %s credits, %s are needed, %s are missing.%s",
        conn_id,
        spendable,
        minimum,
        missing,
        frozen,
    )
    return False


def tolerate_failed_poll(log: Log, error: LeadMagicError, failures: int) -> None:
    """
    Take an error for "not yet", with a warning, unless waiting cannot mend it.

    :param log: Logger of the sensor or its trigger.
    :param error: Why there is no balance.
    :param failures: How many looks have failed in a row, this one included.
    :raises LeadMagicError: The same error, if waiting cannot help.
    """
    if not error.transient:
        raise error
    log.warning("Gate closed: no balance from LeadMagic, failed look %d in a row. %s", failures, error)


def requested_wait(error: LeadMagicError | None) -> float:
    """Tell how many seconds a gate waits at least before the next look because LeadMagic said so."""
    return min((error and error.retry_after) or 0.0, MAX_REQUESTED_WAIT)
