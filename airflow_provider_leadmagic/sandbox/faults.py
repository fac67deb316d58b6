"""Faults that tests inject: their options, the queue that matches them to requests, and their responses."""

from __future__ import annotations

import math
import threading
from dataclasses import field, replace
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass
from starlette.responses import Response

from airflow_provider_leadmagic.sandbox.errors import ProblemResponse, problem_for_status, rate_limit_exceeded
from airflow_provider_leadmagic.sandbox.request_log import path_matches

STATUSES_WITHOUT_BODY = (204, 304)
# Stricter than HTTP: with an invalid header, the sandbox itself would fail, not the client under test.
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")]
HeaderText = Annotated[str, Field(pattern=r"^[ -~]*$")]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Fault:
    """
    A fault for matching requests: wait ``delay`` seconds, then drop the connection or send another response.

    If several of ``drop``, ``redirect_to``, ``body``, ``status`` and ``retry_after`` are set, the first in this order
    determines the response. If none is set, the sandbox processes the request normally, and the fault only delays,
    loses or truncates the response or changes its headers. At least one option other than ``path``, ``times``,
    ``content_type`` and ``flat`` is required.

    :param path: The path to match; ``*`` alone matches every path, and ``*`` as a segment matches any one segment.
    :param times: Number of requests to apply the fault to, at least 1; ``None`` for all requests until the faults
        are cleared.
    :param status: Return this HTTP status, from 200 to 599, with the API's error body for it.
    :param retry_after: Value of the ``Retry-After`` header: seconds as a number, or text that is sent unchanged.
        Without ``status``, ``body`` and ``redirect_to``, the status is 429.
    :param delay: Seconds to wait before anything else happens.
    :param drop: Close the connection without processing the request and without a response.
    :param lose_response: Process the request, then close the connection without a response. If another option replaces
        the response, the request is not processed.
    :param truncate: Close the connection before the response is complete: send a ``Content-Length`` larger than the
        body, or omit the final chunk of a streamed response.
    :param body: Return this text as the body. Without ``status``, the status is 200.
    :param content_type: The media type of ``body``.
    :param flat: Send the error of ``status`` as one flat object instead of the documented list of errors.
    :param redirect_to: Return a redirect with this ``Location`` header. Without ``status``, the status is 302.
    :param headers: Headers to add to the response; they replace headers of the same name.
    :raises ValueError: If an option is invalid or unknown, or none of the options has an effect.
    """

    path: Annotated[str, Field(pattern=r"^(\*|/.*)$")]
    times: Annotated[int, Field(ge=1)] | None = 1
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    retry_after: HeaderText | int | float | None = None
    delay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    drop: bool = False
    lose_response: bool = False
    truncate: bool = False
    body: str | None = None
    content_type: HeaderText = "application/json"
    flat: bool = False
    redirect_to: HeaderText | None = None
    headers: dict[HeaderName, HeaderText] = field(default_factory=dict)

    @model_validator(mode="after")
    def _has_an_effect(self) -> Fault:
        options = (self.status, self.retry_after, self.body, self.redirect_to)
        given = any(option is not None for option in options)
        if not (given or self.delay or self.drop or self.lose_response or self.truncate or self.headers):
            raise ValueError(
                "fault has no effect: set at least one of status, retry_after, delay, drop, lose_response, truncate, "
                "body, redirect_to, headers"
            )
        return self

    def remainder(self) -> list[Fault]:
        """Return the fault to keep in the queue after one more request, as a list of one; empty if it is used up."""
        if self.times is None:
            return [self]
        return [replace(self, times=self.times - 1)] if self.times > 1 else []

    @property
    def is_foreign(self) -> bool:
        """Whether the response simulates a server other than LeadMagic, for example a proxy."""
        return self.body is not None or self.redirect_to is not None

    @property
    def extra_headers(self) -> dict[str, str]:
        """The headers that this fault adds to the response, including ``Retry-After``."""
        retry_after = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return {**retry_after, **self.headers}


class FaultQueue:
    """The queued faults, oldest first. The first one whose path matches a request applies to it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: list[Fault] = []

    @property
    def pending(self) -> list[Fault]:
        """A copy of the queued faults, oldest first."""
        with self._lock:
            return list(self._pending)

    def add(self, fault: Fault) -> None:
        """Append a fault to the queue."""
        with self._lock:
            self._pending.append(fault)

    def take(self, path: str) -> Fault | None:
        """Return the fault that applies to a request, if any, and reduce its ``times`` by one."""
        with self._lock:
            for position, fault in enumerate(self._pending):
                if path_matches(fault.path, path):
                    self._pending[position : position + 1] = fault.remainder()
                    return fault
            return None

    def clear(self) -> None:
        """Remove all faults from the queue."""
        with self._lock:
            self._pending.clear()


def response_for_fault(fault: Fault, request_id: str) -> Response | None:
    """
    Build the response that a fault sends in place of the API.

    :return: The response, or ``None`` if the request is to be processed normally.
    """
    if fault.redirect_to is not None:
        return Response(status_code=fault.status or 302, headers={"Location": fault.redirect_to})
    if fault.body is not None:
        return Response(fault.body, fault.status or 200, media_type=fault.content_type)
    status = fault.status or (429 if fault.retry_after is not None else None)
    return None if status is None else _error_response(status, fault, request_id)


def _error_response(status: int, fault: Fault, request_id: str) -> Response:
    if status in STATUSES_WITHOUT_BODY:
        return Response(status_code=status)
    problem = rate_limit_exceeded(_seconds(fault.retry_after)) if status == 429 else problem_for_status(status)
    return ProblemResponse(problem, request_id, flat=fault.flat)


def _seconds(retry_after: str | float | None) -> float | None:
    try:
        seconds = float(retry_after or 0)
    except ValueError:
        return None
    return seconds if retry_after is not None and math.isfinite(seconds) else None
