"""
Exceptions of this provider, one class per kind of failure that a caller may handle differently.

The base class derives from plain ``Exception`` and not from ``AirflowException``: with ``soft_fail``, Airflow skips the
task after some of its own exceptions, but an invalid API key must never end in a successful DAG run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decimal import Decimal


class LeadMagicError(Exception):
    """
    Base class of all exceptions of this provider.

    :param message: Cause and advice on one line, without secrets.
    :param status: HTTP status of the response, if there was one.
    :param code: LeadMagic's error code, such as ``invalid_api_key``.
    :param detail: LeadMagic's explanation of this failure.
    :param action: LeadMagic's advice.
    :param docs: URL of LeadMagic's documentation of the error.
    :param request_id: LeadMagic's request id, for its support.
    :param transient: Whether the same request can succeed later without a change by the user; the default depends on
        the class.
    """

    #: Whether retrying can help. Sensors keep polling after a transient error and fail after any other error.
    transient: bool = False
    #: Seconds to wait before the next request, if LeadMagic sent a ``Retry-After``.
    retry_after: float | None = None
    #: Whether LeadMagic may have executed a request of the failed call, for example because the response was lost, or
    #: was a redirect or a 5xx. Paid lookups, ``bulk.restart`` and ``bulk.download`` never set it: after them, False
    #: proves nothing.
    maybe_executed: bool = False

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        detail: str | None = None,
        action: str | None = None,
        docs: str | None = None,
        request_id: str | None = None,
        transient: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.detail = detail
        self.action = action
        self.docs = docs
        self.request_id = request_id
        if transient is not None:
            self.transient = transient


class LeadMagicConfigurationError(LeadMagicError, ValueError):
    """
    The connection, an argument of the client, or a TLS or proxy setting is missing or invalid; no request was sent.

    It is also raised, after a request to LeadMagic, if the connection no longer points to the account of a bulk job.
    """


class LeadMagicAuthenticationError(LeadMagicError):
    """The API key is missing, invalid or expired (401)."""


class LeadMagicPermissionError(LeadMagicError):
    """The API key is valid, but its plan or role does not allow the request (403)."""


class LeadMagicNotFoundError(LeadMagicError):
    """The path or the resource does not exist at LeadMagic (404)."""


class LeadMagicRequestError(LeadMagicError):
    """LeadMagic rejected the request (any other 4xx)."""


class InsufficientCreditsError(LeadMagicError):
    """
    The balance is insufficient (402, or a failed check).

    :param required: Required credits, if known.
    :param available: Spendable credits, if known.
    """

    def __init__(
        self,
        message: str,
        *,
        required: Decimal | None = None,
        available: Decimal | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(message, **fields)
        self.required = required
        self.available = available


class CreditsLimitError(LeadMagicError):
    """The bulk job could cost more than the configured limit; it was not submitted."""


class ClaimsError(LeadMagicError):
    """
    The claims, by which tasks reserve credits of an account, cannot be read, written or trusted.

    It is transient if Airflow's API or database does not respond, or if a task's decision about its claim was
    discarded, because it took too long or another task changed the claims meanwhile.
    """


class LeadMagicTimeoutError(LeadMagicError):
    """A bulk enrichment task reached its timeout; the job continues at LeadMagic."""


class _RetryLaterError(LeadMagicError):
    """
    An error response after which a retry can succeed.

    :param retry_after: Seconds to wait before the next request, if LeadMagic sent a ``Retry-After``.
    """

    transient = True

    def __init__(self, message: str, *, retry_after: float | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.retry_after = retry_after


class LeadMagicRateLimitError(_RetryLaterError):
    """The rate limit is exceeded (429)."""


class LeadMagicServerError(_RetryLaterError):
    """LeadMagic, or a proxy in front of it, failed (5xx)."""


class LeadMagicConnectionError(LeadMagicError):
    """
    There is no complete response: no connection, a lost connection, or a timeout.

    :param request_sent: Whether the request may have reached LeadMagic. If so, a paid request is not retried.
    """

    transient = True

    def __init__(self, message: str, *, request_sent: bool = True, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.request_sent = request_sent


class LeadMagicResponseError(LeadMagicError):
    """The response is invalid: a redirect, an HTML page, a balance that is not a number."""


class ResponseTooLargeError(LeadMagicResponseError):
    """The body of the response exceeds the size limit. Requesting a smaller page can help."""
