"""From an error answer to the exception that stands for it, whichever of LeadMagic's envelopes it wears."""

from __future__ import annotations

import email.utils
import math
import time
from datetime import UTC
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.exceptions import (
    InsufficientCreditsError,
    LeadMagicAuthenticationError,
    LeadMagicError,
    LeadMagicNotFoundError,
    LeadMagicPermissionError,
    LeadMagicRateLimitError,
    LeadMagicRequestError,
    LeadMagicResponseError,
    LeadMagicServerError,
)
from airflow_provider_leadmagic.models import is_finite

if TYPE_CHECKING:
    from airflow_provider_leadmagic.transport import Answer

_CLASSES: dict[int, type[LeadMagicError]] = {
    401: LeadMagicAuthenticationError,
    402: InsufficientCreditsError,
    403: LeadMagicPermissionError,
    404: LeadMagicNotFoundError,
    429: LeadMagicRateLimitError,
}


def error_from(answer: Answer, owner: str) -> LeadMagicError:
    """
    Build the exception for an answer with status 400 or above.

    :param answer: The answer.
    :param owner: Whose API key was used, for the advice in the message.
    """
    problem = _problem(answer)
    error_class = _CLASSES.get(answer.status) or (
        LeadMagicServerError if answer.status >= 500 else LeadMagicRequestError
    )
    fields: dict[str, Any] = {name: answer.clean(problem.get(name)) for name in ("code", "detail", "action", "docs")}
    request_id = answer.clean(problem.get("request_id")) or answer.clean(answer.headers.get("X-Request-Id"))
    return error_class(
        _message(answer, problem, fields["code"], request_id, owner),
        status=answer.status,
        request_id=request_id,
        **fields,
        **_extras(error_class, answer, problem),
    )


def parse_retry_after(value: str | None) -> float | None:
    """
    Read a ``Retry-After`` header: seconds, whole or fractional, or an HTTP date.

    :param value: The header.
    :return: Seconds from now, never negative; None if the header is absent or makes no sense.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value)
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _seconds_until(date: str) -> float:
    try:
        moment = email.utils.parsedate_to_datetime(date)
        # HTTP dates are in Greenwich time; the oldest of their three forms does not say so.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - time.time()
    except (ValueError, OverflowError):
        return math.nan


def _problem(answer: Answer) -> dict[str, Any]:
    """Find the object that describes the error; an empty one where the body holds none."""
    try:
        body = answer.json()
    except LeadMagicResponseError:
        return {}
    if not isinstance(body, dict):
        return {}
    errors = body.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else body.get("error")
    problem = first if isinstance(first, dict) else {**body, "title": body.get("title") or first}
    origin = body.get("meta") or body.get("trace")
    return {**problem, "request_id": origin.get("request_id") if isinstance(origin, dict) else None}


def _message(answer: Answer, problem: dict[str, Any], code: str | None, request_id: str | None, owner: str) -> str:
    explanations = [answer.clean(problem.get(name)) for name in ("title", "message")]
    title = "; ".join(filter(None, explanations)) or answer.clean(problem.get("detail")) or "no explanation given"
    notes = ", ".join(f"{name} {value}" for name, value in (("code", code), ("request id", request_id)) if value)
    advice = _ADVICE.get(answer.status, "").format(owner=owner) or answer.clean(problem.get("action")) or ""
    return f"{answer.call} was answered {answer.status}: {title.rstrip('.')}{notes and f' ({notes})'}. {advice}".strip()


#: Where we know better than the answer what to do: it cannot name the connection.
_ADVICE = {
    401: "Check the API key of {owner}.",
    403: "The API key of {owner} is known, but its plan or role does not allow this call.",
    404: "Check the base URL of {owner}.",
}


def _extras(error_class: type[LeadMagicError], answer: Answer, problem: dict[str, Any]) -> dict[str, Any]:
    context = problem.get("context")
    context = context if isinstance(context, dict) else {}
    if error_class is InsufficientCreditsError:
        return {
            "required": _amount(context.get("credits_required")),
            "available": _amount(context.get("credits_available")),
        }
    if error_class in (LeadMagicRateLimitError, LeadMagicServerError):
        asked = parse_retry_after(answer.headers.get("Retry-After"))
        return {"retry_after": parse_retry_after(str(context.get("retry_after_seconds"))) if asked is None else asked}
    return {}


def _amount(value: object) -> Decimal | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    amount = Decimal(str(value)) if is_number else None
    return amount if amount is not None and is_finite(amount) else None
