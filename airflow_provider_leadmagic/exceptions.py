"""
What can go wrong between Airflow and LeadMagic, one class for each thing a caller may want to handle.

The family is rooted in plain ``Exception``. Under ``soft_fail`` Airflow turns some of its own exceptions into
a skipped task, and a wrong API key must never end as a green run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decimal import Decimal


class LeadMagicError(Exception):
    """
    Root of the family.

    :param message: One sentence for the log, free of secrets.
    :param status: HTTP status of the response, when there was one.
    :param code: LeadMagic's error code, such as ``invalid_api_key``.
    :param detail: LeadMagic's explanation of this very failure.
    :param action: What LeadMagic advises to do.
    :param docs: Address of the page LeadMagic points to.
    :param request_id: Correlation id to quote to LeadMagic's support.
    :param transient: Whether the same request may succeed later with nothing changed by the caller; defaults
        to what is usual for the class.
    """

    #: Whether waiting can help. A gate looks again after a transient error and fails at once after any other.
    transient: bool = False
    #: Seconds LeadMagic asks to wait before the next request, where it asks for it.
    retry_after: float | None = None

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
    """The connection or the client's arguments cannot be used; nothing was sent."""


class LeadMagicAuthenticationError(LeadMagicError):
    """The API key is missing, wrong or expired (401)."""


class LeadMagicPermissionError(LeadMagicError):
    """The key is good, but the plan or the role does not allow the call (403)."""


class LeadMagicNotFoundError(LeadMagicError):
    """LeadMagic does not know the path or the resource (404)."""


class LeadMagicRequestError(LeadMagicError):
    """LeadMagic refused the request as it was made (any other 4xx)."""


class InsufficientCreditsError(LeadMagicError):
    """
    The balance does not cover what is asked of it (402, or a check that failed).

    :param required: Credits that are needed, when known.
    :param available: Credits that can be spent now, when known.
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
    """The work could cost more credits than it is allowed to; nothing was ordered."""


class LeadMagicTimeoutError(LeadMagicError):
    """A task that orders a bulk job waited as long as it may."""


class _RetryLaterError(LeadMagicError):
    """
    Something that passes by itself.

    :param retry_after: Seconds LeadMagic asks to wait, when it says so.
    """

    transient = True

    def __init__(self, message: str, *, retry_after: float | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.retry_after = retry_after


class LeadMagicRateLimitError(_RetryLaterError):
    """Too many requests (429)."""


class LeadMagicServerError(_RetryLaterError):
    """LeadMagic failed on its side (5xx)."""


class LeadMagicConnectionError(LeadMagicError):
    """
    No response: no connection, a dropped one, or a timeout.

    :param request_sent: Whether the request may have reached LeadMagic. Only when it certainly did not may a
        paid call be repeated.
    """

    transient = True

    def __init__(self, message: str, *, request_sent: bool = True, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.request_sent = request_sent


class LeadMagicResponseError(LeadMagicError):
    """A response that is not what the API promises: a redirect, an HTML page, a balance that is no number."""
