"""The event that a trigger sends to its task, which another version of this package may read."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic import exceptions
from airflow_provider_leadmagic.api.text import describe_value
from airflow_provider_leadmagic.exceptions import LeadMagicError

if TYPE_CHECKING:
    from airflow_provider_leadmagic.api.models import CreditBalance


def open_event(balance: CreditBalance, minimum_credits: Decimal) -> dict[str, Any]:
    """Build the event that lets a deferred sensor succeed."""
    return {"status": "open", "balance": balance.to_json(), "minimum_credits": str(minimum_credits)}


def error_event(error: LeadMagicError) -> dict[str, Any]:
    """Build the event that lets a deferred sensor fail with the very error its trigger met."""
    fields = {name: getattr(error, name, None) for name in _ERROR_FIELDS}
    return {"status": "error", "error": type(error).__name__, "message": str(error), "fields": fields}


#: What of an error travels in an event: plain values, none of them secret.
_ERROR_FIELDS = ("status", "code", "detail", "action", "docs", "request_id", "retry_after", "request_sent", "transient")


def report_from(event: Any) -> dict[str, Any]:
    """
    Read an event on the worker, which may run another version of this package than the triggerer.

    :param event: What the trigger sent.
    :return: The report of the balance that opened the gate.
    :raises LeadMagicError: The error the trigger met; or that the event is none of ours, which would otherwise pass
        for success.
    """
    from airflow_provider_leadmagic.api.models import CreditBalance  # DAG files load this module, and parse no balance

    try:
        if event["status"] == "open":
            return CreditBalance.from_json(event["balance"]).report(Decimal(event["minimum_credits"]))
    except (KeyError, TypeError, ValueError, ArithmeticError):
        pass
    raise error_from_event(event)


def error_from_event(event: Any) -> LeadMagicError:
    """
    Rebuild the error that a trigger met.

    :param event: What the trigger sent.
    :return: The error; for an event that is none of ours, one that says so.
    """
    try:
        error = _error_from(event) if event["status"] == "error" else None
    except (KeyError, TypeError):
        error = None
    return error or LeadMagicError(f"Unexpected trigger event: {describe_value(event)}")


def _error_from(event: dict[str, Any]) -> LeadMagicError:
    named = getattr(exceptions, event["error"], None)
    error_class = named if isinstance(named, type) and issubclass(named, LeadMagicError) else LeadMagicError
    error = error_class(event["message"])
    for name in _ERROR_FIELDS:
        if event.get("fields", {}).get(name) is not None:
            setattr(error, name, event["fields"][name])
    return error
