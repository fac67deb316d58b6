"""Faults that tests inject: what goes wrong, on which path and how often, and the responses that faults send."""

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
# What HTTP allows in a header; anything else would break the sandbox instead of its client.
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")]
HeaderText = Annotated[str, Field(pattern=r"^[ -~]*$")]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Fault:
    """
    One fault: it waits ``delay`` seconds, then does the first of drop, redirect, body and status that is set.

    A fault with none of these four keeps the ordinary response, but delays, loses or truncates it or changes headers.

    :param path: the path it applies to, ``*`` in place of any one part of it, or ``*`` for every path.
    :param times: how many requests it applies to; ``None`` means every request until faults are cleared.
    :param status: respond with this status and the API's error body for it.
    :param retry_after: the ``Retry-After`` header, sent as it is; the status is then 429 if none is given.
    :param delay: seconds to wait before anything else.
    :param drop: close the connection without a response.
    :param lose_response: process the request, then close the connection without a response.
    :param truncate: announce a longer body than is sent, then close the connection.
    :param body: respond with exactly this text, with status 200 if none is given.
    :param content_type: the media type of ``body``.
    :param flat: use the flat error body instead of the list of errors.
    :param redirect_to: respond with this ``Location``, with status 302 if none is given.
    :param headers: headers to add to the response, or to replace in it.
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
                "a fault needs one of status, retry_after, delay, drop, lose_response, truncate, body, redirect_to, "
                "headers"
            )
        return self

    def remainder(self) -> list[Fault]:
        """Return what is left of this fault after one more request: one fault or none."""
        if self.times is None:
            return [self]
        return [replace(self, times=self.times - 1)] if self.times > 1 else []

    @property
    def is_foreign(self) -> bool:
        """Whether the response seems to come from something else than the API, a proxy for example."""
        return self.body is not None or self.redirect_to is not None

    @property
    def extra_headers(self) -> dict[str, str]:
        """The headers that this fault adds to any response."""
        retry_after = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return {**retry_after, **self.headers}


class FaultQueue:
    """Faults in the order in which they were added; the first one that matches a request applies to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: list[Fault] = []

    @property
    def pending(self) -> list[Fault]:
        """A copy of the faults still to come."""
        with self._lock:
            return list(self._pending)

    def add(self, fault: Fault) -> None:
        """Queue a fault behind the others."""
        with self._lock:
            self._pending.append(fault)

    def take(self, path: str) -> Fault | None:
        """Return the fault that applies to a request, if any, and count the request."""
        with self._lock:
            for position, fault in enumerate(self._pending):
                if path_matches(fault.path, path):
                    self._pending[position : position + 1] = fault.remainder()
                    return fault
            return None

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._pending.clear()


def response_for_fault(fault: Fault, request_id: str) -> Response | None:
    """
    Build the response of a fault.

    :return: ``None`` if the API itself is to respond.
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
