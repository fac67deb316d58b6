"""One poll of a balance for everyone in this process who waits on it."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

from airflow_provider_leadmagic.decisions.gate import MAX_REQUESTED_WAIT, requested_wait
from airflow_provider_leadmagic.exceptions import LeadMagicConnectionError, LeadMagicError
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from airflow_provider_leadmagic.api.models import CreditBalance
    from airflow_provider_leadmagic.client import LeadMagicClient

log = logging.getLogger(__name__)


#: Shortest wait between two looks, in seconds, whatever the arithmetic says.
SHORTEST_WAIT = 0.01
#: Longest random part of a wait, in seconds: enough to keep many processes out of step.
LONGEST_JITTER = 2.0
#: Oldest look, in seconds, by which a gate may open: the money in an older one may be spent.
MAX_AGE_TO_SUCCEED = 5.0
#: How much of an interval a look stays good for others: less than all, so that who sleeps an interval finds it due.
_FRESH = 0.9


@dataclass(frozen=True)
class Reading:
    """
    One look at a balance: what was seen, or why nothing was.

    :param taken_at: When, by the process's monotonic clock.
    :param balance: The balance, if the look succeeded.
    :param error: The error, if it did not.
    :param failures: How many looks have failed in a row, this one included.
    :param refreshed: Whether LeadMagic had been asked to re-read the balance from its database.
    """

    taken_at: float
    balance: CreditBalance | None = None
    error: LeadMagicError | None = None
    failures: int = 0
    refreshed: bool = False

    @property
    def age(self) -> float:
        """Seconds since it was taken."""
        return time.monotonic() - self.taken_at

    def due_in(self, interval: float) -> float:
        """Tell how many seconds from now the next look may be made."""
        return max(interval, requested_wait(self.error)) - self.age


async def poll_balance(
    conn_id: str, interval: float, *, refresh: bool = False, not_before: float = 0.0, waiting_since: float = 0.0
) -> AsyncGenerator[Reading, None]:
    """
    Poll a balance again and again; never returns.

    Any number of these on one connection and in one event loop make about one request per interval together: who
    wakes first looks, and the others find that look when they wake a moment later.

    :param conn_id: The connection.
    :param interval: Seconds from one look to the next, plus a moment so that many processes do not fall into step.
    :param refresh: Whether LeadMagic should re-read the balance from its database for each look.
    :param not_before: Unix time before which not to look.
    :param waiting_since: Unix time of the look before the first one; 0 if there was none, and the first one is due.
    """
    requested = min(not_before - time.time(), MAX_REQUESTED_WAIT)
    await asyncio.sleep(max(_left_of(interval, waiting_since) + _jitter(interval), requested))
    while True:
        look = await latest_reading(conn_id, interval, refresh=refresh)
        yield look
        await asyncio.sleep(max(look.due_in(interval), SHORTEST_WAIT) + _jitter(interval))


async def latest_reading(conn_id: str, max_age: float, *, refresh: bool = False) -> Reading:
    """
    Return the latest look of this process unless it is too old, else a new one.

    :param conn_id: The connection.
    :param max_age: Seconds until a look is due for renewal.
    :param refresh: Whether LeadMagic should re-read the balance from its database.
    """
    looks = _readings_of_loop.setdefault(asyncio.get_running_loop(), {})
    return await looks.setdefault(conn_id, SharedReadings(conn_id)).take(max_age, refresh)


def _left_of(interval: float, waiting_since: float) -> float:
    """Tell what is left of an interval, lest a triggerer that starts anew begin a new one each time."""
    return min(max(waiting_since + interval - time.time(), 0.0), interval)  # the worker's clock may differ


def _jitter(interval: float) -> float:
    return random.uniform(0, min(interval / 10, LONGEST_JITTER))  # noqa: S311


def is_first_report(look: Reading) -> bool:
    """Tell whether nobody has asked this of a look before: a thousand watchers then write one line about it."""
    if look in _old_news:
        return False
    _old_news.add(look)
    return True


class SharedReadings:
    """
    The latest look at one balance, renewed by whoever asks first after it is due.

    :param conn_id: The connection.
    """

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self._lock = asyncio.Lock()
        self._latest: Reading | None = None

    async def take(self, max_age: float, refresh: bool) -> Reading:
        """
        Return the latest look if it is not due for renewal, else a new one.

        :param max_age: Seconds until a look is due for renewal.
        :param refresh: Whether LeadMagic should re-read the balance from its database.
        """
        async with self._lock:
            if self._latest is None or self._is_due(self._latest, max_age, refresh):
                self._latest = await self._look(self._latest.failures if self._latest else 0, refresh)
            return self._latest

    @staticmethod
    def _is_due(latest: Reading, max_age: float, refresh: bool) -> bool:
        wanted = 0.0 if refresh and not latest.refreshed else max_age * _FRESH
        return latest.due_in(wanted) <= 0

    async def _look(self, failures: int, refresh: bool) -> Reading:
        try:
            balance = await self._read_balance(refresh)
        except LeadMagicError as error:
            return Reading(time.monotonic(), error=error, failures=failures + 1, refreshed=refresh)
        except Exception as error:
            # Raised, it would end the poll of every gate, and Airflow would skip those with soft_fail.
            log.exception("Balance poll on connection %r failed unexpectedly.", self._conn_id)
            problem = LeadMagicError(
                f"Balance poll failed unexpectedly ({type(error).__name__}): see the traceback in the triggerer log."
            )
            return Reading(time.monotonic(), error=problem, failures=failures + 1, refreshed=refresh)
        return Reading(time.monotonic(), balance=balance, refreshed=refresh)

    async def _read_balance(self, refresh: bool) -> CreditBalance:
        client = await client_for_one_poll(self._conn_id)
        try:
            return await asyncio.to_thread(client.refresh_credits if refresh else client.get_credits)
        finally:
            client.close()


_readings_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, SharedReadings]] = WeakKeyDictionary()
"""Looks are shared within an event loop: a lock cannot cross loops."""

_old_news: WeakSet[Reading] = WeakSet()


async def client_for_one_poll(conn_id: str) -> LeadMagicClient:
    """
    Build a client that repeats nothing: the next look is the retry.

    A new one for each look: a key or an address corrected in the connection is used from the next one on.

    :param conn_id: The connection.
    :raises LeadMagicConnectionError: If the connection cannot be used just now.
    """
    try:
        return await LeadMagicHook(conn_id, max_attempts=1).aget_conn()
    except Exception as error:
        # The connection was good when the task began to wait. Airflow reports an outage of its secrets backend or
        # database as a connection that does not exist: a reason to wait, not to fail everybody's task.
        reason = str(error) if isinstance(error, LeadMagicError) else type(error).__name__
        problem = f"Connection {conn_id!r} is unavailable: {reason}"
        raise LeadMagicConnectionError(problem, request_sent=False) from error


@asynccontextmanager
async def one_at_a_time() -> AsyncIterator[None]:
    """
    Wait for a pass of the event loop in which no other gate judges.

    One look wakes them all in the same pass. With a log line each, that pass would take a third of a second, in which
    no other trigger gets a word in.
    """
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        await asyncio.sleep(0)  # while the lock is held, so that the others have to queue for it
        yield


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
