"""
Convert HTTP error responses and low-level HTTP failures to exceptions of the LeadMagicError family.

LeadMagic has two formats of error responses, a list of errors and a flat object; both are supported.
"""

from __future__ import annotations

import email.utils
import math
import os
import socket
import ssl
import time
from datetime import UTC
from decimal import Decimal
from functools import partial
from http.client import HTTPException, IncompleteRead, LineTooLong, RemoteDisconnected
from typing import TYPE_CHECKING, Any

import requests
from urllib3.exceptions import NewConnectionError, ProxySchemeUnknown, ReadTimeoutError
from urllib3.util.ssl_match_hostname import CertificateError

from airflow_provider_leadmagic.api.deadlines import NOT_SENT, CACertificatesError
from airflow_provider_leadmagic.api.text import quoted_values, redact, sentences
from airflow_provider_leadmagic.api.validation import is_finite
from airflow_provider_leadmagic.exceptions import (
    InsufficientCreditsError,
    LeadMagicAuthenticationError,
    LeadMagicConfigurationError,
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
    from collections.abc import Callable

    from airflow_provider_leadmagic.api.response import Call, Response

_CLASSES: dict[int, type[LeadMagicError]] = {
    401: LeadMagicAuthenticationError,
    402: InsufficientCreditsError,
    403: LeadMagicPermissionError,
    404: LeadMagicNotFoundError,
    429: LeadMagicRateLimitError,
}
#: Cause and advice for each status whose advice does not depend on LeadMagic's explanation.
_SUMMARIES: dict[int, tuple[str, str]] = {
    401: ("API key rejected", "check {password}"),
    402: ("Not enough credits", "top up {account}"),
    403: ("Access denied", "check {plan and role}"),
    404: ("Not found", "check {host}"),
    429: ("Rate limit exceeded", "retry {when}"),
}
#: Advice for a 404 on paths where the host is not the only possible cause, by part of the path.
_NOT_FOUND = {
    "/bulk/jobs/": "check the job ID and {host}",
    "/v1/people/": "check the record and {host}",
    "/v1/companies/": "check the record and {host}",
}
#: Fields whose text can quote a record.
_PROSE = ("title", "message", "detail", "action", "docs")
#: Longest error code in the first part of a message. LeadMagic's codes have up to 25 characters.
_MAX_CODE = 40


def error_for_response(response: Response) -> LeadMagicError:
    """
    Build the exception for a response with status 400 or above.

    :param response: The error response, in either of LeadMagic's formats or any other.
    """
    problem = _problem(response)
    error_class = _CLASSES.get(response.status) or (
        LeadMagicServerError if response.status >= 500 else LeadMagicRequestError
    )
    # Records are personal data. Without them the explanation still says what is wrong: "Email is required".
    hide = partial(response.redact, private=quoted_values(response.sent(), map(problem.get, _PROSE)))
    fields: dict[str, Any] = {name: hide(problem.get(name)) for name in ("detail", "action", "docs")}
    fields["code"] = response.redact(problem.get("code"))
    request_id = response.redact(problem.get("request_id")) or response.redact(response.headers.get("X-Request-Id"))
    extras = _extras(error_class, response, problem)
    return error_class(
        response.call.message(
            _summary(response, fields["code"], extras.get("retry_after")),
            _explanation(response, problem, hide),
            request_id,
        ),
        status=response.status,
        request_id=request_id,
        **fields,
        **extras,
    )


def parse_retry_after(value: str | None) -> float | None:
    """
    Parse a ``Retry-After`` header: seconds, whole or fractional, or an HTTP date.

    :param value: The header.
    :return: Seconds from now, 0 or more; None if the header is absent or invalid.
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
        # HTTP dates are in UTC; the oldest of their three formats does not name a time zone.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - time.time()
    except (ValueError, OverflowError):
        return math.nan


def _problem(response: Response) -> dict[str, Any]:
    """Return the object that describes the error, or an empty one if the body has none."""
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


def _summary(response: Response, code: str | None, retry_after: float | None) -> str:
    """Return cause and advice, or only the cause if LeadMagic's explanation has to serve as the advice."""
    call, status = response.call, response.status
    default = ("Server error", "retry {when}") if status >= 500 else ("Request rejected", "")
    cause, advice = _SUMMARIES.get(status, default)
    if status == 404:
        advice = next((advice for path, advice in _NOT_FOUND.items() if path in call.request), advice)
    settings = {field: call.setting(field) for field in ("password", "account", "plan and role", "host")}
    # Ten digits are enough for 300 years; more would push the rest of the message out of the log view.
    when = f"in {round(retry_after, 1):.10g} s" if retry_after else "later"
    label = f"{status} {code[:_MAX_CODE]}" if code else f"{status}"
    return f"{cause} ({label}): {advice.format(**settings, when=when)}".rstrip()


def _explanation(response: Response, problem: dict[str, Any], hide: Callable[..., str | None]) -> str | None:
    """Return LeadMagic's explanation, with its advice for statuses that are not in ``_SUMMARIES``."""
    has_advice = response.status in _SUMMARIES
    names = ("title", "message", "detail", *(() if has_advice else ("action",)))
    texts = filter(None, (hide(problem.get(name)) for name in names))
    explanation = response.redact(sentences(*dict.fromkeys(texts)))
    return explanation or (None if has_advice or response.status >= 500 else "no explanation given")


def _extras(error_class: type[LeadMagicError], response: Response, problem: dict[str, Any]) -> dict[str, Any]:
    context = problem.get("context")
    context = context if isinstance(context, dict) else {}
    if error_class is InsufficientCreditsError:
        return {
            "required": _amount(context.get("credits_required")),
            "available": _amount(context.get("credits_available")),
        }
    if error_class in (LeadMagicRateLimitError, LeadMagicServerError):
        wait = parse_retry_after(response.headers.get("Retry-After"))
        return {"retry_after": parse_retry_after(str(context.get("retry_after_seconds"))) if wait is None else wait}
    return {}


def _amount(value: object) -> Decimal | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    amount = Decimal(str(value)) if is_number else None
    return amount if amount is not None and is_finite(amount) else None


def error_for_failure(
    call: Call, error: Exception, unrelated: BaseException | None, connect_timeout: float, if_timed_out: str
) -> LeadMagicError:
    """
    Convert a failure of the HTTP libraries to an error that says whether the request was sent.

    A request that was not sent is safe to repeat, even a paid one.

    :param error: What requests, urllib3 or the socket raised.
    :param unrelated: The exception that the caller is already handling, if any. Python chains it to ``error`` although
        the two are unrelated: an earlier connection failure says nothing about this request.
    :param connect_timeout: Limit for connecting, in seconds.
    :param if_timed_out: What to report if the response did not come, or was not complete, in time.
    """
    chain = _causes(error, unrelated)
    if misconfigured := _misconfiguration(chain, call):
        return LeadMagicConfigurationError(call.message(*misconfigured))
    if unsent := _connect_failure(chain, call, connect_timeout):
        return LeadMagicConnectionError(call.message(*unsent), request_sent=False)
    retry_or_check = f"retry later or check {call.setting('host')}"
    if any(map(_is_oversized, chain)):
        message = call.message(f"Response headers too long or too many: {retry_or_check}")
        return LeadMagicResponseError(message, transient=True)
    if any(isinstance(cause, ReadTimeoutError) for cause in chain):
        message = call.message(f"{if_timed_out}: retry later or increase {call.setting('timeout')}")
        return LeadMagicConnectionError(message)
    return LeadMagicConnectionError(call.message(f"{_failure(chain)}: {retry_or_check}", _reason(chain)))


#: Causes to report if no more is known. The first of these types that is in the chain of causes applies.
_FAILURES: tuple[tuple[type[BaseException], str], ...] = (
    (TimeoutError, "Request not accepted in time"),  # while sending; later, urllib3 raises ReadTimeoutError
    (ssl.SSLError, "TLS connection failed"),
    (RemoteDisconnected, "Connection closed by the server"),
    (ConnectionError, "Connection closed by the server"),
    (IncompleteRead, "Response cut short"),
    (HTTPException, "Invalid HTTP response"),
    (requests.exceptions.ContentDecodingError, "Invalid compression in the response"),
)


def _failure(chain: list[BaseException]) -> str:
    names = (name for kind, name in _FAILURES if any(isinstance(cause, kind) for cause in chain))
    return next(names, "No response")


def _is_oversized(cause: BaseException) -> bool:
    # http.client raises the plain base class if there are more than a hundred headers.
    return isinstance(cause, LineTooLong) or type(cause) is HTTPException


#: Environment variables with the path of CA certificates. requests reads the first one that is set, not SSL_CERT_FILE.
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


#: Errors raised for invalid proxy settings.
_PROXY_SETTINGS = (requests.exceptions.InvalidProxyURL, requests.exceptions.InvalidSchema, ProxySchemeUnknown)


def _misconfiguration(chain: list[BaseException], call: Call) -> tuple[str, str] | None:
    """Return summary and detail if no request can be sent until a setting is corrected. Nothing was sent."""
    if wrong := next((cause for cause in chain if isinstance(cause, _PROXY_SETTINGS)), None):
        reason = "SOCKS needs the Python package PySocks" if "dependencies for SOCKS" in str(wrong) else ""
        return f"Invalid proxy settings: correct {call.proxies('HTTPS_PROXY')}", reason
    for cause in chain:
        if isinstance(cause, requests.exceptions.InvalidURL):
            return f"Invalid host name: correct {call.setting('host')}", ""
        if isinstance(cause, CACertificatesError):
            return _ca_message(cause, call)
        if isinstance(cause, ssl.SSLCertVerificationError | CertificateError):
            is_proxy = any(isinstance(each, requests.exceptions.ProxyError) for each in chain)
            checked = call.proxies() if is_proxy else call.setting("host")
            used = f". CA certificates: {redact(call.ca_path)}" if call.ca_path else ""
            reason = f"Reason: {redact(getattr(cause, 'verify_message', str(cause)))}{used}"
            return f"TLS certificate not trusted: check {checked} and the CA certificates", reason
    return None


def _ca_message(error: CACertificatesError, call: Call) -> tuple[str, str]:
    variables = (name for name in _CA_VARIABLES if os.environ.get(name) == error.path)
    wrong = call.setting("verify setting") if call.ca_path else next(variables, None)
    advice = f"correct {wrong}" if wrong else "reinstall the Python package certifi"
    return f"CA certificates cannot be loaded: {advice}", f"{error.reason}: {redact(error.path)}"


def _connect_failure(chain: list[BaseException], call: Call, timeout: float) -> tuple[str, str] | None:
    """Return summary and detail if the request was certainly not sent, None if it may have been."""
    if not any(NOT_SENT in getattr(cause, "__notes__", ()) for cause in chain):
        return None
    host = call.setting("host")
    if any(isinstance(cause, OSError) and str(cause).startswith("Tunnel connection failed") for cause in chain):
        checked = call.setting("proxies and host") if call.has_proxies else f"the proxy settings and {host}"
        return f"Proxy did not open a connection: check {checked}", ""
    if any(isinstance(cause, TimeoutError | requests.ConnectTimeout) for cause in chain):
        is_proxy = any(isinstance(cause, requests.exceptions.ProxyError) for cause in chain)
        return f"No connection within {timeout:g} s: check {call.proxies() if is_proxy else host}", ""
    if any(isinstance(cause, NewConnectionError) for cause in chain):
        return _unreachable(chain, call)
    return f"{_failure(chain)}: retry later or check {host}", _reason(chain)


def _unreachable(chain: list[BaseException], call: Call) -> tuple[str, str]:
    host = call.setting("host")
    if any(isinstance(cause, requests.exceptions.ProxyError) for cause in chain):
        return f"Proxy unreachable: check {call.proxies()}", _reason(chain)
    if any(isinstance(cause, socket.gaierror) for cause in chain):
        return f"Host name not resolved: check {host}", _reason(chain)
    return f"{_os_error(chain) or 'Connection failed'}: check {host}", ""


def _reason(chain: list[BaseException]) -> str:
    # Only the type of the root cause, because its message can contain arbitrary bytes from the server.
    root = type(chain[-1])
    return f"Reason: {_os_error(chain) or f'{root.__module__}.{root.__qualname__}'}"


def _os_error(chain: list[BaseException]) -> str | None:
    return next((cause.strerror for cause in chain if isinstance(cause, OSError) and cause.strerror), None)


def _causes(error: BaseException | None, unrelated: BaseException | None) -> list[BaseException]:
    """Follow an error through the wrappers of requests and urllib3 to its root cause."""
    chain: list[BaseException] = []
    while error is not None and error is not unrelated and error not in chain:
        chain.append(error)
        wrapped = (each for each in (getattr(error, "reason", None), *error.args) if isinstance(each, BaseException))
        error = next(wrapped, None) or error.__cause__ or error.__context__
    return chain
