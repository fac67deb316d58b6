"""
Retry failed calls.

Whether a call is retried depends on whether that can cost credits, not on the HTTP method: LeadMagic's refresh is a
free POST, and its paid lookups are POSTs too.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, BinaryIO

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from airflow_provider_leadmagic.api.errors import error_for_response
from airflow_provider_leadmagic.exceptions import (
    LeadMagicConfigurationError,
    LeadMagicConnectionError,
    LeadMagicError,
    LeadMagicRateLimitError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_leadmagic.api.response import Response
    from airflow_provider_leadmagic.api.transport import Transport

log = logging.getLogger(__name__)

#: Longest ``Retry-After`` to wait for here, in seconds. With a longer one the error is raised with ``retry_after`` set,
#: and the caller decides; waiting here would occupy a worker.
MAX_RETRY_AFTER = 60.0

_TRANSIENT_STATUSES = frozenset({429, 500, 502, 503, 504})
_backoff = wait_random_exponential(multiplier=0.5, max=20)


class Calls:
    """
    Calls LeadMagic's API with retries, and raises error responses as exceptions.

    :param transport: Sends single requests.
    :param max_attempts: Maximum number of attempts for each request, 1 or more.
    :param on_response: Called with each response, including error responses.
    :param before_spending: Called before each call that can cost credits.
    """

    def __init__(
        self,
        transport: Transport,
        max_attempts: int,
        *,
        on_response: Callable[[Response], None],
        before_spending: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._on_response = on_response
        self._before_spending = before_spending
        self._free = _retrying(_may_repeat_free_call, max_attempts)
        self._paid = _retrying(_may_repeat_paid_call, max_attempts)

    def free(
        self,
        method: str,
        path: str,
        json_body: Mapping[str, Any] | None = None,
        *,
        body_file: BinaryIO | None = None,
        spends: bool = False,
    ) -> Response:
        """
        Make a call that costs nothing to repeat. It is retried after a connection error, 429, 500, 502, 503 or 504.

        :param method: HTTP method.
        :param path: Path below the base URL.
        :param json_body: Body to send as JSON.
        :param body_file: File of JSON to send instead, from its beginning.
        :param spends: Whether the call itself costs credits, although repeating it does not.
        :raises LeadMagicError: If LeadMagic rejects the request or does not respond.
        """
        if spends:
            self._before_spending()
        response: Response = self._free(_noting_executions(self._send), method, path, json_body, body_file)
        return response

    def paid(self, method: str, path: str, json_body: Mapping[str, Any] | None = None) -> Response:
        """
        Make a call that costs credits each time. It is retried only if LeadMagic certainly did not execute it.

        :param method: HTTP method.
        :param path: Path below the base URL.
        :param json_body: Body to send as JSON.
        :raises LeadMagicError: If LeadMagic rejects the request or does not respond.
        """
        self._before_spending()
        response: Response = self._paid(self._send, method, path, json_body)
        return response

    def download(self, path: str, file: BinaryIO) -> int:
        """
        Write a CSV response into a file from its current position. A retry starts at the same position.

        :param path: Path below the base URL.
        :param file: A seekable file, open for writing in binary mode.
        :return: The number of bytes written.
        :raises LeadMagicError: If LeadMagic rejects the request, does not respond, or returns anything but CSV.
        """
        written: int = self._free(self._download, path, file, file.tell())
        return written

    def _send(
        self, method: str, path: str, json_body: Mapping[str, Any] | None = None, body_file: BinaryIO | None = None
    ) -> Response:
        return self._accepted(self._transport.send(method, path, json_body, body_file=body_file))

    def _download(self, path: str, file: BinaryIO, start: int) -> int:
        if file.tell() != start:  # the previous attempt wrote a part
            file.seek(start)
            file.truncate()
        response, written = self._transport.download(path, file)
        self._accepted(response)
        if written is None:
            raise response.unexpected("Response is not CSV")
        return written

    def _accepted(self, response: Response) -> Response:
        self._on_response(response)
        if response.status >= 400:
            raise error_for_response(response)
        return response


def _may_repeat_free_call(error: BaseException) -> bool:
    return isinstance(error, LeadMagicConnectionError) or getattr(error, "status", None) in _TRANSIENT_STATUSES


def _may_repeat_paid_call(error: BaseException) -> bool:
    if isinstance(error, LeadMagicConnectionError):
        return not error.request_sent
    return isinstance(error, LeadMagicRateLimitError)


def _noting_executions(send: Callable[..., Response]) -> Callable[..., Response]:
    """
    Return a function that sends each attempt of one call. It sets ``maybe_executed`` of an error if LeadMagic may have
    executed this or an earlier attempt.
    """
    maybe_executed = False

    def send_and_note(*arguments: Any) -> Response:
        nonlocal maybe_executed
        try:
            return send(*arguments)
        except LeadMagicError as error:
            error.maybe_executed = maybe_executed = maybe_executed or not _has_no_effect(error)
            raise

    return send_and_note


def _has_no_effect(error: LeadMagicError) -> bool:
    if isinstance(error, LeadMagicConfigurationError):
        return True  # nothing was sent
    if isinstance(error, LeadMagicConnectionError):
        return not error.request_sent
    return error.status is not None and 400 <= error.status < 500


def _retrying(may_retry: Callable[[BaseException], bool], max_attempts: int) -> Retrying:
    return Retrying(
        retry=retry_if_exception(lambda error: may_retry(error) and _retry_after(error) <= MAX_RETRY_AFTER),
        wait=_wait,
        stop=stop_after_attempt(max_attempts),
        before_sleep=_log_retry,
        reraise=True,
    )


def _wait(state: RetryCallState) -> float:
    return max(_backoff(state), _retry_after(_failure(state)))


def _log_retry(state: RetryCallState) -> None:
    wait = state.next_action.sleep if state.next_action else 0
    log.warning("Retrying in %.1f s (attempt %d): %s", wait, state.attempt_number + 1, _failure(state))


def _failure(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _retry_after(error: BaseException | None) -> float:
    return getattr(error, "retry_after", None) or 0.0
