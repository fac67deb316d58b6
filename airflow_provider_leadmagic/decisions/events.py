"""
Build and read the events that triggers send to tasks.

Triggerer and worker may run different versions of this package, so a reader accepts events with additional fields.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic import exceptions
from airflow_provider_leadmagic.api.text import describe_value
from airflow_provider_leadmagic.api.validation import number_or_none
from airflow_provider_leadmagic.exceptions import LeadMagicError

if TYPE_CHECKING:
    from airflow_provider_leadmagic.api.models import CreditBalance
    from airflow_provider_leadmagic.decisions.claims import Seen


def sufficient_event(balance: CreditBalance, minimum_credits: Decimal) -> dict[str, Any]:
    """Build the event for a sufficient balance; the deferred task then succeeds."""
    return {"status": "open", "balance": balance.to_json(), "minimum_credits": str(minimum_credits)}


def wake_event(seen: Seen) -> dict[str, Any]:
    """
    Build the event for a task whose claim can probably be granted. The task then resumes on a worker, and decides.

    :param seen: What the triggerer has observed about the claims: which have ended or become affordable, and when.
    """
    ages = {name: [[*task, age] for task, age in times.items()] for name, times in seen._asdict().items()}
    return {"status": "wake", "seen": ages}


def is_wake(event: Any) -> bool:
    """
    Return whether an event resumes a task so that it decides about its claim.

    Only the event is checked. If ``claim_pool`` was removed while the task was deferred, the task is resumed, but
    only polls the balance.

    :param event: Payload of the event that the trigger sent.
    """
    return isinstance(event, dict) and event.get("status") == "wake"


def error_event(error: LeadMagicError) -> dict[str, Any]:
    """Build the event for a permanent error; the deferred task then raises the same error."""
    fields = {name: getattr(error, name, None) for name in _ERROR_FIELDS}
    fields |= {name: str(amount) for name in _ERROR_AMOUNTS if (amount := getattr(error, name, None)) is not None}
    return {"status": "error", "error": type(error).__name__, "message": str(error), "fields": fields}


#: Attributes of an error that are sent in an event. All are JSON values, and none is secret.
_ERROR_FIELDS = (
    "status",
    "code",
    "detail",
    "action",
    "docs",
    "request_id",
    "retry_after",
    "request_sent",
    "transient",
    "maybe_executed",
)
#: Attributes that are sent as text, because JSON has no exact decimal numbers.
_ERROR_AMOUNTS = ("required", "available")


def report_from(event: Any) -> dict[str, Any]:
    """
    Return the balance report of an event.

    :param event: Payload of the event that the trigger sent.
    :return: The report of the sufficient balance.
    :raises LeadMagicError: The error of the trigger. Also raised for an unexpected event, which would otherwise count
        as a success.
    """
    # Imported here because DAG files import this module, and do not parse a balance.
    from airflow_provider_leadmagic.api.models import CreditBalance

    try:
        if event["status"] == "open":
            return CreditBalance.from_json(event["balance"]).report(Decimal(event["minimum_credits"]))
    except (KeyError, TypeError, ValueError, ArithmeticError):
        pass
    raise error_from_event(event)


def seen_from(event: Any) -> Seen:
    """
    Return what the triggerer has observed about the claims, see :class:`Seen`.

    :param event: Payload of the event that the trigger sent.
    :raises LeadMagicError: The error of the trigger. Also raised for an unexpected event.
    """
    # Imported here because DAG files import this module, and do not decide about claims.
    from airflow_provider_leadmagic.compat.metadata import TaskKey
    from airflow_provider_leadmagic.decisions.claims import NOTHING_SEEN, Seen

    try:
        if event["status"] == "open":  # the task had no claim_pool when it was deferred
            return NOTHING_SEEN
        if event["status"] == "wake":
            ages = {name: {TaskKey(*task): float(age) for *task, age in event["seen"][name]} for name in Seen._fields}
            return Seen(**ages)
    except (KeyError, TypeError, ValueError):
        pass
    raise error_from_event(event)


def error_from_event(event: Any) -> LeadMagicError:
    """
    Rebuild the error of a trigger from its event.

    :param event: Payload of the event that the trigger sent.
    :return: The error of the trigger, or an error that quotes the unexpected event.
    """
    try:
        error = _error_from(event) if event["status"] == "error" else None
    except (KeyError, TypeError, AttributeError):
        error = None
    return error or LeadMagicError(
        f"Unexpected trigger event: run the same provider version on worker and triggerer; got {describe_value(event)}"
    )


def _error_from(event: dict[str, Any]) -> LeadMagicError:
    named = getattr(exceptions, event["error"], None)
    error_class = named if isinstance(named, type) and issubclass(named, LeadMagicError) else LeadMagicError
    error = error_class(event["message"])
    fields = event.get("fields", {})
    values = {name: fields.get(name) for name in _ERROR_FIELDS}
    values |= {name: number_or_none(fields.get(name)) for name in _ERROR_AMOUNTS}
    for name, value in values.items():
        if value is not None:
            setattr(error, name, value)
    return error
