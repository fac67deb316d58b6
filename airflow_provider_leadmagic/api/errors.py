"""From an error response to the exception that stands for it, whichever of LeadMagic's envelopes it wears."""

from __future__ import annotations

import email.utils
import math
import ssl
import time
from datetime import UTC
from decimal import Decimal
from http.client import HTTPException, LineTooLong
from typing import TYPE_CHECKING, Any

import requests
from urllib3.exceptions import NewConnectionError, ReadTimeoutError

from airflow_provider_leadmagic.api.validation import is_finite
from airflow_provider_leadmagic.exceptions import (
    InsufficientCreditsError,
    LeadMagicAuthenticationError,
    LeadMagicConnectionError,
    LeadMagicError,
    LeadMagicNotFoundError,
    LeadMagicPermissionError,
    LeadMagicRateLimitError,
    LeadMagicRequestError,
    LeadMagicResponseError,
    LeadMagicServerError,
)

if TYPE_CHECKING:
    from airflow_provider_leadmagic.api.response import Response

_CLASSES: dict[int, type[LeadMagicError]] = {
    401: LeadMagicAuthenticationError,
    402: InsufficientCreditsError,
    403: LeadMagicPermissionError,
    404: LeadMagicNotFoundError,
    429: LeadMagicRateLimitError,
}


def error_for_response(response: Response, owner: str) -> LeadMagicError:
    """
    Build the exception for a response with status 400 or above.

    :param response: The response.
    :param owner: Whose API key was used, for the advice in the message.
    """
    problem = _problem(response)
    error_class = _CLASSES.get(response.status) or (
        LeadMagicServerError if response.status >= 500 else LeadMagicRequestError
    )
    fields: dict[str, Any] = {name: response.redact(problem.get(name)) for name in ("code", "detail", "action", "docs")}
    request_id = response.redact(problem.get("request_id")) or response.redact(response.headers.get("X-Request-Id"))
    return error_class(
        _message(response, problem, fields["code"], request_id, owner),
        status=response.status,
        request_id=request_id,
        **fields,
        **_extras(error_class, response, problem),
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


def _problem(response: Response) -> dict[str, Any]:
    """Find the object that describes the error; an empty one where the body holds none."""
    try:
        body = response.json()
    except LeadMagicResponseError:
        return {}
    if not isinstance(body, dict):
        return {}
    errors = body.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else body.get("error")
    problem = first if isinstance(first, dict) else {**body, "title": body.get("title") or first}
    origin = body.get("meta") or body.get("trace")
    return {**problem, "request_id": origin.get("request_id") if isinstance(origin, dict) else None}


def _message(response: Response, problem: dict[str, Any], code: str | None, request_id: str | None, owner: str) -> str:
    explanations = [response.redact(problem.get(name)) for name in ("title", "message")]
    title = "; ".join(filter(None, explanations)) or response.redact(problem.get("detail")) or "no explanation given"
    notes = ", ".join(f"{name} {value}" for name, value in (("code", code), ("request id", request_id)) if value)
    advice = _ADVICE.get(response.status, "").format(owner=owner) or response.redact(problem.get("action")) or ""
    explanation = f"{title.rstrip('.')}{notes and f' ({notes})'}"
    return f"{response.call} was answered {response.status}: {explanation}. {advice}".strip()


#: Where we know better than the response what to do: it cannot name the connection.
_ADVICE = {
    401: "Check the API key of {owner}.",
    403: "The API key of {owner} is known, but its plan or role does not allow this call.",
    404: "Check the base URL of {owner}.",
}


def _extras(error_class: type[LeadMagicError], response: Response, problem: dict[str, Any]) -> dict[str, Any]:
    context = problem.get("context")
    context = context if isinstance(context, dict) else {}
    if error_class is InsufficientCreditsError:
        return {
            "required": _amount(context.get("credits_required")),
            "available": _amount(context.get("credits_available")),
        }
    if error_class in (LeadMagicRateLimitError, LeadMagicServerError):
        asked = parse_retry_after(response.headers.get("Retry-After"))
        return {"retry_after": parse_retry_after(str(context.get("retry_after_seconds"))) if asked is None else asked}
    return {}


def _amount(value: object) -> Decimal | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    amount = Decimal(str(value)) if is_number else None
    return amount if amount is not None and is_finite(amount) else None


def error_for_failure(
    call: str, error: Exception, unrelated: BaseException | None, timeouts: tuple[float, float], slow: str
) -> LeadMagicError:
    """
    Find the error of ours that stands for one of the HTTP libraries.

    :param call: What was called.
    :param error: Theirs.
    :param unrelated: What the caller was handling before. To Python that is the context of the failure, but it is no
        cause of it: an earlier failure to connect says nothing about this request.
    :param timeouts: Seconds that connecting, and the response, may take.
    :param slow: What took too long, if the response had begun.
    """
    chain = _causes(error, unrelated)
    if unconnected := _unconnected(chain, timeouts[0]):
        return LeadMagicConnectionError(f"{call} got no response: {unconnected}", request_sent=False)
    if any(map(_is_oversized, chain)):
        return LeadMagicResponseError(f"{call} was answered with headers that are too long or too many", transient=True)
    if any(isinstance(cause, ReadTimeoutError | TimeoutError) for cause in chain):
        reason = f"complete response: {slow}" if slow else f"response: none within {timeouts[1]:g} s"
        return LeadMagicConnectionError(f"{call} got no {reason}")
    return LeadMagicConnectionError(f"{call} got no response: {_last_words(chain)}")


def _is_oversized(cause: BaseException) -> bool:
    # The plain exception is how http.client refuses more than a hundred headers.
    return isinstance(cause, LineTooLong) or type(cause) is HTTPException


def _unconnected(chain: list[BaseException], timeout: float) -> str | None:
    """Say why there was no connection that a request could have been sent by; None if there was one."""
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate cannot be trusted ({cause.verify_message.rstrip('.')})"
        # There is no class for this one; unrecognized, it counts as any other timeout.
        is_handshake = isinstance(cause, TimeoutError) and "handshake" in str(cause)
        if is_handshake or isinstance(cause, requests.ConnectTimeout):
            return f"no connection within {timeout:g} s"
        if isinstance(cause, OSError) and str(cause).startswith("Tunnel connection failed"):
            return "the proxy does not connect to it"
    return _last_words(chain) if any(isinstance(cause, NewConnectionError) for cause in chain) else None


def _last_words(chain: list[BaseException]) -> str:
    return next((e.strerror for e in chain if isinstance(e, OSError) and e.strerror), type(chain[-1]).__name__)


def _causes(error: BaseException | None, unrelated: BaseException | None) -> list[BaseException]:
    """Follow an error down to its root, through the wrappers of requests and urllib3."""
    chain: list[BaseException] = []
    while error is not None and error is not unrelated and error not in chain:
        chain.append(error)
        wrapped = (each for each in (getattr(error, "reason", None), *error.args) if isinstance(each, BaseException))
        error = next(wrapped, None) or error.__cause__ or error.__context__
    return chain
