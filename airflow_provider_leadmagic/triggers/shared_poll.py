"""Share one balance poll between all triggers of a process."""

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


#: Shortest wait between two polls, in seconds.
SHORTEST_WAIT = 0.01
#: Longest jitter of a wait, in seconds: enough to keep many processes from polling at the same moment.
LONGEST_JITTER = 2.0
#: Maximum age, in seconds, of a reading with which a sensor may succeed: later the credits may be spent.
MAX_AGE_TO_SUCCEED = 5.0
#: Fraction of the interval for which a reading is reused. Below 1, so that a trigger that sleeps one full interval
#: always finds it expired.
_REUSE_FRACTION = 0.9


@dataclass(frozen=True)
class Reading:
    """
    The result of one poll: a balance or an error.

    :param taken_at: Time of the poll by the monotonic clock of the process.
    :param balance: The balance, if the poll succeeded.
    :param error: The error, if the poll failed.
    :param failures: Number of consecutive failed polls, including this one.
    :param refreshed: Whether LeadMagic re-read the balance from its database for this poll.
    """

    taken_at: float
    balance: CreditBalance | None = None
    error: LeadMagicError | None = None
    failures: int = 0
    refreshed: bool = False

    @property
    def age(self) -> float:
        """Seconds since the poll."""
        return time.monotonic() - self.taken_at

    def due_in(self, interval: float) -> float:
        """Return the seconds until the next poll is due; negative if it is overdue."""
        return max(interval, requested_wait(self.error)) - self.age


async def poll_balance(
    conn_id: str, interval: float, *, refresh: bool = False, not_before: float = 0.0, waiting_since: float = 0.0
) -> AsyncGenerator[Reading, None]:
    """
    Poll a balance repeatedly; never returns.

    Together, all polls of one connection in one event loop send about one request per interval: the first one to wake
    sends it, and the others reuse its reading when they wake a moment later.

    :param conn_id: Connection to poll.
    :param interval: Seconds between two polls. Jitter is added.
    :param refresh: Whether LeadMagic re-reads the balance from its database before each poll.
    :param not_before: Unix time before which not to poll; 0 for none.
    :param waiting_since: Unix time of the previous poll; 0 if there was none, so that the first poll is due at once.
    """
    requested = min(not_before - time.time(), MAX_REQUESTED_WAIT)
    await asyncio.sleep(max(_left_of(interval, waiting_since) + _jitter(interval), requested))
    while True:
        reading = await latest_reading(conn_id, interval, refresh=refresh)
        yield reading
        await asyncio.sleep(max(reading.due_in(interval), SHORTEST_WAIT) + _jitter(interval))


async def latest_reading(conn_id: str, max_age: float, *, refresh: bool = False) -> Reading:
    """
    Return the latest reading of this process, or poll if it is too old.

    :param conn_id: Connection to poll.
    :param max_age: Seconds for which a reading is reused.
    :param refresh: Whether LeadMagic re-reads the balance from its database before the poll.
    """
    by_connection = _shared_readings.setdefault(asyncio.get_running_loop(), {})
    return await by_connection.setdefault(conn_id, SharedReading(conn_id)).get(max_age, refresh)


def _left_of(interval: float, waiting_since: float) -> float:
    """Return the rest of the current interval, so that a triggerer restart does not reset the polling schedule."""
    return min(max(waiting_since + interval - time.time(), 0.0), interval)  # the worker's clock may be fast


def _jitter(interval: float) -> float:
    return random.uniform(0, min(interval / 10, LONGEST_JITTER))  # noqa: S311


def is_first_report(reading: Reading) -> bool:
    """Return True on the first call for a reading, so that many watchers log it only once."""
    if reading in _reported:
        return False
    _reported.add(reading)
    return True


class SharedReading:
    """
    The latest reading of one connection, renewed by the first caller that finds it expired.

    :param conn_id: Connection to poll.
    """

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self._lock = asyncio.Lock()
        self._latest: Reading | None = None

    async def get(self, max_age: float, refresh: bool) -> Reading:
        """
        Return the latest reading, or poll if it is expired.

        :param max_age: Seconds for which a reading is reused.
        :param refresh: Whether LeadMagic re-reads the balance from its database before the poll.
        """
        async with self._lock:
            if self._latest is None or self._is_expired(self._latest, max_age, refresh):
                self._latest = await self._poll(self._latest.failures if self._latest else 0, refresh)
            return self._latest

    @staticmethod
    def _is_expired(latest: Reading, max_age: float, refresh: bool) -> bool:
        lifetime = 0.0 if refresh and not latest.refreshed else max_age * _REUSE_FRACTION
        return latest.due_in(lifetime) <= 0

    async def _poll(self, failures: int, refresh: bool) -> Reading:
        try:
            balance = await self._read_balance(refresh)
        except LeadMagicError as error:
            return Reading(time.monotonic(), error=error, failures=failures + 1, refreshed=refresh)
        except Exception as error:
            # Raising it would end the shared poll of all sensors, and Airflow would skip those with soft_fail.
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


#: Readings by event loop and connection ID. They are shared only within a loop, because a lock cannot be used in two.
_shared_readings: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, SharedReading]] = WeakKeyDictionary()

_reported: WeakSet[Reading] = WeakSet()


async def client_for_one_poll(conn_id: str) -> LeadMagicClient:
    """
    Build a client without retries, because the next poll is the retry.

    Each poll builds a new client, so that it uses a key or host that was corrected in the connection meanwhile.

    :param conn_id: Connection to use.
    :raises LeadMagicConnectionError: If the connection cannot be read or is invalid.
    """
    try:
        return await LeadMagicHook(conn_id, max_attempts=1).aget_conn()
    except Exception as error:
        # The connection was valid when the task started to wait. Airflow reports an outage of its secrets backend or
        # database as a missing connection: a reason to keep waiting, not to fail all waiting tasks.
        unreadable = f"Connection {conn_id!r} cannot be read ({type(error).__name__})."
        message = str(error) if isinstance(error, LeadMagicError) else unreadable
        raise LeadMagicConnectionError(message, request_sent=False) from error


@asynccontextmanager
async def one_at_a_time() -> AsyncIterator[None]:
    """
    Wait for an event-loop iteration in which no other sensor trigger is being evaluated.

    One reading wakes all triggers in the same iteration. If a thousand triggers log a line each, that iteration takes
    a third of a second, during which no other trigger can run.
    """
    async with _evaluation_locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        await asyncio.sleep(0)  # while the lock is held, so that the other triggers wait for it
        yield


_evaluation_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
