"""JSON responses, and the errors that the API can return in both of its error formats."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from http.client import responses
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

TYPES = "https://api.leadmagic.io/errors/"
DOCS = "https://leadmagic.io/docs/v1/making-api-calls#error-handling"
REQUESTS_PER_MINUTE = 600


class AsciiJsonResponse(Response):
    """A JSON response in ASCII. It may contain submitted text with lone surrogates, which UTF-8 cannot encode."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Encode the body, with each ``Decimal`` as a JSON number."""
        return json.dumps(content, default=to_number).encode()


def to_number(value: Decimal) -> int | float:
    """Convert credits to a JSON number: an integer if they are whole, else a float."""
    return int(value) if value == value.to_integral_value() else float(value)


def to_timestamp(moment: float) -> str:
    """
    Format a time in the API's format: ISO 8601 in UTC, with milliseconds.

    :param moment: Seconds since the Unix epoch.
    """
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Problem:
    """
    An error, with the API's field names.

    :param status: The HTTP status.
    :param code: The machine-readable code.
    :param title: The human-readable message.
    :param detail: A longer explanation.
    :param action: Advice on how to fix the request.
    :param param: Names of the invalid or missing request fields.
    :param context: Values of the error, for example the credits that are missing.
    """

    status: int
    code: str
    title: str
    detail: str | None = None
    action: str | None = None
    param: tuple[str, ...] = ()
    context: Mapping[str, object] = field(default_factory=dict)

    def members(self) -> dict[str, object]:
        """Return the fields that are set."""
        fixed: dict[str, object] = {
            "type": TYPES + self.code,
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "docs": DOCS,
        }
        optional = {"detail": self.detail, "action": self.action, "param": self.param, "context": self.context}
        return fixed | {name: value for name, value in optional.items() if value}

    def enveloped(self, request_id: str) -> dict[str, object]:
        """Build the documented error body: an envelope with a list of errors."""
        meta = {"request_id": request_id, "timestamp": to_timestamp(time.time()), "environment": "sandbox"}
        return {"success": False, "errors": [self.members()], "meta": meta}

    def flat(self, request_id: str) -> dict[str, object]:
        """Build the undocumented error body that LeadMagic has been observed to send: one flat object."""
        return {**self.members(), "trace": {"request_id": request_id}}


class ProblemResponse(AsciiJsonResponse):
    """
    An error response.

    :param problem: The error to return.
    :param request_id: The request ID to include in the body.
    :param flat: Use the flat body instead of the documented one.
    :param headers: Additional headers.
    """

    media_type = "application/problem+json"

    def __init__(
        self, problem: Problem, request_id: str, *, flat: bool = False, headers: Mapping[str, str] | None = None
    ) -> None:
        body = problem.flat(request_id) if flat else problem.enveloped(request_id)
        super().__init__(body, problem.status, headers)


class ApiError(Exception):
    """Raised to end the current request with an error response."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.title)
        self.problem = problem


class UnknownJobError(ApiError):
    """No bulk job has the requested ID."""

    def __init__(self) -> None:
        super().__init__(replace(problem_for_status(404), detail="No bulk job has this ID."))


class WrongStateError(ApiError):
    """The job's state does not allow the action. LeadMagic documents no status for this; 409 is its conflict status."""

    def __init__(self, action: str, status: str) -> None:
        super().__init__(replace(problem_for_status(409), detail=f"Cannot {action} a job that is {status}."))


def problem_for_status(status: int) -> Problem:
    """Return the API's error for a status, or a generic error for a status that the API does not document."""
    if status == 429:
        return rate_limit_exceeded(None)
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    phrase = responses.get(status, "Unexpected status")
    return Problem(status, phrase.lower().replace(" ", "_"), f"{phrase}.")


def missing_required_field(names: tuple[str, ...]) -> Problem:
    """Build the error of a request that lacks a field: it must have at least one of ``names``."""
    title = f"Missing required field: {' or '.join(names)}. Add this field to your request."
    return Problem(400, "missing_required_field", title, param=names)


def validation_error(detail: str, *param: str, status: int = 400) -> Problem:
    """Build the error of an invalid request field, or of an invalid body if no ``param`` is given."""
    title = "Request validation failed. Check your input parameters."
    return Problem(status, "validation_error", title, detail=detail, param=param)


def insufficient_credits(required: Decimal, available: Decimal) -> Problem:
    """Build the error of a balance that does not cover a price. Amounts are in credits."""
    return Problem(
        402,
        "insufficient_credits",
        f"Insufficient credits: need {required}, have {available:.2f}. Add credits to continue.",
        detail=f"This request requires {required} credit(s) but your account only has "
        f"{available:.2f} credits remaining.",
        action="Add credits to your account.",
        context={"credits_required": required, "credits_available": available, "credits_needed": required - available},
    )


def rate_limit_exceeded(retry_after: float | None) -> Problem:
    """
    Build the error of too many requests.

    :param retry_after: Seconds to wait; ``None`` if unknown.
    """
    context: dict[str, object] = {"limit": REQUESTS_PER_MINUTE, "window": "1 minute", "remaining": 0}
    if retry_after is not None:
        wait = math.ceil(retry_after)
        context |= {"reset_at": int(time.time()) + wait, "retry_after_seconds": wait}
    return Problem(
        429,
        "rate_limit_exceeded",
        f"Rate limit exceeded: {REQUESTS_PER_MINUTE} requests per 1 minute. Wait and try again.",
        detail="You have exceeded the maximum allowed request rate.",
        action="Wait before retrying. Consider implementing exponential backoff.",
        context=context,
    )


def unknown_host(name: str) -> Problem:
    """Build the error of a ``Host`` header that does not name the sandbox. LeadMagic has no such error."""
    advice = f"To accept it, start the sandbox with --allow-host {name}."
    return Problem(421, "unknown_host", f"Unknown host name {name!r}. {advice}")


# Errors of the controls under ``/_sandbox``, which LeadMagic does not have.
CROSS_SITE_REQUEST = Problem(
    403,
    "cross_site_request",
    "A web page of another site cannot use the controls of the sandbox. Use curl or the Python class Sandbox.",
)
JSON_REQUIRED = Problem(
    415, "json_required", "Send JSON to the controls of the sandbox: add Content-Type: application/json."
)

MISSING_AUTHENTICATION = Problem(
    401,
    "missing_authentication",
    "Authentication required. Provide a valid API key in the X-API-Key header (case-insensitive).",
)
INVALID_API_KEY = Problem(401, "invalid_api_key", "Invalid API key. The key does not exist or is incorrect.")
INVALID_JSON = Problem(400, "invalid_json", "Invalid JSON in request body. Check your JSON syntax.")
INTERNAL_ERROR = Problem(
    500,
    "INTERNAL_ERROR",
    "Something went wrong on our end. Our team has been notified and is investigating.",
    detail="This is a temporary server error.",
    action="Wait 30 seconds and retry your request.",
)

_BY_STATUS = {
    problem.status: problem
    for problem in (
        validation_error("The request is not valid."),
        INVALID_API_KEY,
        insufficient_credits(Decimal(5), Decimal("2.5")),
        Problem(
            403, "insufficient_permissions", "Access denied to this resource. Upgrade your plan or contact support."
        ),
        Problem(404, "resource_not_found", "Resource not found."),
        Problem(409, "conflict", "Resource conflict detected."),
        INTERNAL_ERROR,
        Problem(502, "external_service_error", "Error communicating with external service. Please try again."),
        Problem(503, "service_unavailable", "Service temporarily unavailable. Please try again later."),
    )
}
