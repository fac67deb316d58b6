"""Faults that tests inject: what goes wrong, on which path, how often."""

from __future__ import annotations

import threading
from dataclasses import field, replace
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from airflow_provider_leadmagic.sandbox.paths import path_fits

# What HTTP lets stand in a header; anything else would break the sandbox instead of its client.
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")]
HeaderText = Annotated[str, Field(pattern=r"^[ -~]*$")]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Fault:
    """
    One fault: it waits ``delay``, then does the first of drop, redirect, body and status that is set.

    A fault with none of these four leaves the ordinary answer: late, lost, truncated or with other headers.

    :param path: the path it strikes, ``*`` in place of any one part of it, or ``*`` for every path.
    :param times: how many calls it strikes; ``None`` means every call until faults are cleared.
    :param status: answer with this status and the API's error body for it.
    :param retry_after: the ``Retry-After`` header, as it shall be sent; makes the status 429 if none is given.
    :param delay: seconds to wait before anything else.
    :param drop: close the connection without an answer.
    :param lose_answer: let the API do what it was asked, then close the connection without an answer.
    :param truncate: announce a longer body than is sent, then close the connection.
    :param body: answer with exactly this text, with status 200 if none is given.
    :param content_type: the media type of ``body``.
    :param flat: use the flat error object instead of the list of errors.
    :param redirect_to: answer with this ``Location``, with status 302 if none is given.
    :param headers: headers to add to the answer, or to replace in it.
    """

    path: Annotated[str, Field(pattern=r"^(\*|/.*)$")]
    times: Annotated[int, Field(ge=1)] | None = 1
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    retry_after: HeaderText | int | float | None = None
    delay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    drop: bool = False
    lose_answer: bool = False
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
        if not (given or self.delay or self.drop or self.lose_answer or self.truncate or self.headers):
            raise ValueError(
                "a fault needs one of status, retry_after, delay, drop, lose_answer, truncate, body, redirect_to, "
                "headers"
            )
        return self

    def remainder(self) -> list[Fault]:
        """Say what is left of this fault after one more call."""
        if self.times is None:
            return [self]
        return [replace(self, times=self.times - 1)] if self.times > 1 else []

    @property
    def is_foreign(self) -> bool:
        """Whether somebody else than the API seems to answer, a proxy for example."""
        return self.body is not None or self.redirect_to is not None

    @property
    def extra_headers(self) -> dict[str, str]:
        """The headers this fault puts on whatever answer is sent."""
        retry_after = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return {**retry_after, **self.headers}


class FaultQueue:
    """Faults in the order they were added; the first one that fits a call strikes it."""

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
        """Find the fault for a call, and count the call."""
        with self._lock:
            for position, fault in enumerate(self._pending):
                if path_fits(fault.path, path):
                    self._pending[position : position + 1] = fault.remainder()
                    return fault
            return None

    def clear(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._pending.clear()
