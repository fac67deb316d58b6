"""What a watcher says of a look, to the triggerer's log and to the DAGs it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.models import format_credits, json_number
from airflow_provider_leadmagic.api.text import clean

if TYPE_CHECKING:
    from airflow_provider_leadmagic.api.models import CreditBalance
    from airflow_provider_leadmagic.compat.imports import Log
    from airflow_provider_leadmagic.crossing import Crossing
    from airflow_provider_leadmagic.exceptions import LeadMagicError


def crossing_event(balance: CreditBalance, crossing: Crossing, conn_id: str) -> dict[str, Any]:
    """
    Build the payload of the event: what a gate returns, and what was crossed.

    :param balance: What was seen.
    :param crossing: The line.
    :param conn_id: Connection the balance belongs to.
    """
    return {
        **balance.report(crossing.minimum_credits),
        "direction": crossing.direction,
        "hysteresis": json_number(crossing.hysteresis),
        "leadmagic_conn_id": conn_id,
    }


def tell_change(log: Log, state: str, balance: CreditBalance, crossing: Crossing, conn_id: str) -> None:
    """
    Say in one log line that a watcher has fired, or may fire from now on.

    :param log: Logger of the trigger.
    :param state: What has become of it.
    :param balance: What was seen.
    :param crossing: The line.
    :param conn_id: Connection the balance belongs to.
    """
    log.info(
        "Watcher of connection %r, %s %s credits: %s. It can spend %s credits.",
        conn_id,
        crossing.direction,
        format_credits(crossing.minimum_credits),
        state,
        format_credits(balance.spendable),
    )


def tell_failed_look(log: Log, error: LeadMagicError, failures: int, conn_id: str) -> None:
    """
    Say that watchers see nothing: loudly, if somebody has to do something about it.

    :param log: Logger of the trigger.
    :param error: Why there is no balance.
    :param failures: How many looks have failed in a row, this one included.
    :param conn_id: Connection the balance belongs to.
    """
    tell = log.warning if error.transient else log.error
    advice = "" if error.transient else " Somebody has to mend this; the watchers then go on by themselves."
    problem = "Watchers of connection %r see no balance, failed look %d in a row. %s.%s"
    tell(problem, conn_id, failures, str(error).rstrip("."), advice)


def tell_lost_memory(log: Log, error: Exception, conn_id: str) -> None:
    """
    Say that a watcher could not ask Airflow, or tell it, on which side of its line the balance is.

    :param log: Logger of the trigger.
    :param error: What Airflow raised.
    :param conn_id: Connection the balance belongs to.
    """
    problem = (
        "A watcher of connection %r cannot reach the state that Airflow keeps for it; the next look tries again. %s: %s"
    )
    log.warning(problem, conn_id, type(error).__name__, clean(str(error)))
