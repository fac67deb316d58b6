"""
Which failed calls are made again, and when.

What decides is whether a repetition can cost money, never the HTTP verb: LeadMagic's refresh is a free POST, and
its paid lookups are POSTs too.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from airflow_provider_leadmagic.exceptions import LeadMagicConnectionError, LeadMagicRateLimitError

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

#: Longest ``Retry-After``, in seconds, that is slept through here. A longer one is raised with ``retry_after`` set,
#: so that whoever called decides, rather than hold a worker.
MAX_RETRY_AFTER = 60.0

_TRANSIENT_STATUSES = frozenset({429, 500, 502, 503, 504})
_backoff = wait_random_exponential(multiplier=0.5, max=20)


def free_calls(max_tries: int) -> Retrying:
    """
    Repeat a call that costs nothing after anything that may pass.

    :param max_tries: Requests in all, the first one included.
    """
    return _retrying(_may_pass, max_tries)


def paid_calls(max_tries: int) -> Retrying:
    """
    Repeat a paid call only when it was certainly not carried out: it never reached LeadMagic, or was told 429.

    :param max_tries: Requests in all, the first one included.
    """
    return _retrying(_was_not_carried_out, max_tries)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, LeadMagicConnectionError) or getattr(error, "status", None) in _TRANSIENT_STATUSES


def _was_not_carried_out(error: BaseException) -> bool:
    if isinstance(error, LeadMagicConnectionError):
        return not error.request_sent
    return isinstance(error, LeadMagicRateLimitError)


def _retrying(may_repeat: Callable[[BaseException], bool], max_tries: int) -> Retrying:
    return Retrying(
        retry=retry_if_exception(lambda error: may_repeat(error) and _retry_after(error) <= MAX_RETRY_AFTER),
        wait=_wait,
        stop=stop_after_attempt(max_tries),
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
