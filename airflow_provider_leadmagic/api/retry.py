"""
Which failed calls are repeated, and when.

What decides is whether a repetition can cost money, never the HTTP verb: LeadMagic's refresh is a free POST, and
its paid lookups are POSTs too.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, BinaryIO

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from airflow_provider_leadmagic.api.errors import error_for_response
from airflow_provider_leadmagic.exceptions import (
    LeadMagicConnectionError,
    LeadMagicRateLimitError,
    LeadMagicResponseError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_leadmagic.api.response import Response
    from airflow_provider_leadmagic.api.transport import Transport

log = logging.getLogger(__name__)

#: Longest ``Retry-After``, in seconds, that is slept through here. A longer one is raised with ``retry_after`` set,
#: so that whoever called decides, rather than hold a worker.
MAX_RETRY_AFTER = 60.0

_TRANSIENT_STATUSES = frozenset({429, 500, 502, 503, 504})
_backoff = wait_random_exponential(multiplier=0.5, max=20)


class Calls:
    """
    Calls of LeadMagic's API: with the key, with retries, and with error responses raised as exceptions.

    :param transport: Sends single requests.
    :param owner: How messages name the key's owner.
    :param max_attempts: Requests one call may make, the first included.
    :param on_response: Is called with each response, error responses included.
    :param before_spending: Is called before each call that can cost credits.
    """

    def __init__(
        self,
        transport: Transport,
        owner: str,
        max_attempts: int,
        *,
        on_response: Callable[[Response], None],
        before_spending: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._owner = owner
        self._on_response = on_response
        self._before_spending = before_spending
        self._free = _retrying(_is_transient, max_attempts)
        self._paid = _retrying(_was_not_carried_out, max_attempts)

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
        Make a call whose repetition costs nothing, and repeat it after any failure that may pass.

        :param method: HTTP verb.
        :param path: Path below the base URL.
        :param json_body: Body to send as JSON.
        :param body_file: Instead of that, a file of JSON to send from its beginning.
        :param spends: Whether the call itself costs credits, although to repeat it does not.
        :raises LeadMagicError: If LeadMagic refuses or does not respond.
        """
        if spends:
            self._before_spending()
        response: Response = self._free(self._send, method, path, json_body, body_file)
        return response

    def paid(self, method: str, path: str, json_body: Mapping[str, Any] | None = None) -> Response:
        """
        Make a call that costs credits each time. It is repeated only when it certainly was not carried out.

        :param method: HTTP verb.
        :param path: Path below the base URL.
        :param json_body: Body to send as JSON.
        :raises LeadMagicError: If LeadMagic refuses or does not respond.
        """
        self._before_spending()
        response: Response = self._paid(self._send, method, path, json_body)
        return response

    def download(self, path: str, file: BinaryIO) -> int:
        """
        Write a CSV response into a file, from where it stands. A repetition starts at the same place.

        :param path: Path below the base URL.
        :param file: Is open for writing in binary mode, and can be repositioned.
        :return: How many bytes were written.
        :raises LeadMagicError: If LeadMagic refuses, does not respond, or sends something else.
        """
        written: int = self._free(self._download, path, file, file.tell())
        return written

    def _send(
        self, method: str, path: str, json_body: Mapping[str, Any] | None = None, body_file: BinaryIO | None = None
    ) -> Response:
        return self._accepted(self._transport.send(method, path, json_body, body_file=body_file))

    def _download(self, path: str, file: BinaryIO, start: int) -> int:
        if file.tell() != start:  # an attempt before this one broke off
            file.seek(start)
            file.truncate()
        response, written = self._transport.download(path, file)
        self._accepted(response)
        if written is None:
            problem = f"{response.call} was answered {response.status} with something that is no CSV file"
            raise LeadMagicResponseError(problem, status=response.status, transient=True)
        return written

    def _accepted(self, response: Response) -> Response:
        self._on_response(response)
        if response.status >= 400:
            raise error_for_response(response, self._owner)
        return response


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, LeadMagicConnectionError) or getattr(error, "status", None) in _TRANSIENT_STATUSES


def _was_not_carried_out(error: BaseException) -> bool:
    if isinstance(error, LeadMagicConnectionError):
        return not error.request_sent
    return isinstance(error, LeadMagicRateLimitError)


def _retrying(may_repeat: Callable[[BaseException], bool], max_attempts: int) -> Retrying:
    return Retrying(
        retry=retry_if_exception(lambda error: may_repeat(error) and _retry_after(error) <= MAX_RETRY_AFTER),
        wait=_wait,
        stop=stop_after_attempt(max_attempts),
        before_sleep=_announce,
        reraise=True,
    )


def _wait(state: RetryCallState) -> float:
    return max(_backoff(state), _retry_after(_failure(state)))


def _announce(state: RetryCallState) -> None:
    wait = state.next_action.sleep if state.next_action else 0
    problem = str(_failure(state)).rstrip(".")
    log.warning("%s. Try %d comes in %.1f s.", problem, state.attempt_number + 1, wait)


def _failure(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _retry_after(error: BaseException | None) -> float:
    return getattr(error, "retry_after", None) or 0.0
