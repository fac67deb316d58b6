"""Share one balance poll between all triggers of a process, and limit the polls of one connection."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from operator import methodcaller
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from airflow_provider_leadmagic.compat.deferral import StillRunningError, in_thread, leave_running_if_cancelled
from airflow_provider_leadmagic.decisions.gate import MAX_REQUESTED_WAIT, requested_wait
from airflow_provider_leadmagic.exceptions import LeadMagicConnectionError, LeadMagicError
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from airflow_provider_leadmagic.api.models import CreditBalance
    from airflow_provider_leadmagic.client import LeadMagicClient

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Maximum number of simultaneous polls of one connection. Two are enough to poll two hundred bulk jobs once a minute.
POLLS_AT_A_TIME = 2
#: Longest time for Airflow to read a connection, in seconds. Each earlier lookup that still hangs extends it.
LOOKUP_TIMEOUT = 60.0
#: Shortest wait between two polls, in seconds.
SHORTEST_WAIT = 0.01
#: Longest jitter of a wait, in seconds: enough to keep many processes from polling at the same moment.
LONGEST_JITTER = 2.0
#: Maximum age, in seconds, of a reading with which a sensor can succeed: the credits of an older one may already be
#: spent.
MAX_AGE_TO_SUCCEED = 5.0
#: Fraction of the interval for which a reading is reused. Below 1, so that a trigger that sleeps one full interval
#: always finds it expired.
_REUSE_FRACTION = 0.9


@dataclass(frozen=True)
class Reading:
    """
    The result of one poll: a balance or an error.

    :param taken_at: Time of the poll by the monotonic clock of the process.
    :param refreshed: Whether LeadMagic re-read the balance from its database for this poll.
    :param balance: The balance, if the poll succeeded.
    :param error: The error, if the poll failed.
    :param failures: Number of consecutive failed polls, including this one.
    """

    taken_at: float
    refreshed: bool
    balance: CreditBalance | None = None
    error: LeadMagicError | None = None
    failures: int = 0

    @property
    def age(self) -> float:
        """Seconds since the poll."""
        return time.monotonic() - self.taken_at

    def due_in(self, interval: float) -> float:
        """Return the seconds until the next poll is due; 0 if it is overdue."""
        return max(max(interval, requested_wait(self.error)) - self.age, 0.0)


async def poll_balance(
    conn_id: str, interval: float, *, refresh: bool, not_before: float, waiting_since: float
) -> AsyncGenerator[Reading, None]:
    """
    Poll a balance repeatedly; never returns.

    Together, all polls of one connection in one event loop send about one request per interval: the first one to wake
    sends it, and the others reuse its reading when they wake a moment later.

    :param conn_id: Connection to poll.
    :param interval: Seconds between two polls. Jitter is added.
    :param refresh: Whether LeadMagic re-reads the balance from its database before each poll.
    :param not_before: Unix time before which not to poll; 0 for none.
    :param waiting_since: Unix time at which the first interval began; 0 if there is none, so that the first poll is due
        at once.
    """
    await asyncio.sleep(first_wait(interval, waiting_since, not_before))
    while True:
        reading = await latest_reading(conn_id, interval, refresh=refresh)
        yield reading
        await asyncio.sleep(next_wait(interval, reading.due_in(interval)))


async def latest_reading(conn_id: str, max_age: float, *, refresh: bool) -> Reading:
    """
    Return the latest reading of this process, or poll if it is too old.

    :param conn_id: Connection to poll.
    :param max_age: Seconds for which a reading is reused.
    :param refresh: Whether LeadMagic re-reads the balance from its database before the poll.
    """
    by_connection = _shared_readings.setdefault(asyncio.get_running_loop(), {})
    return await by_connection.setdefault(conn_id, SharedReading(conn_id)).get(max_age, refresh)


def first_wait(interval: float, waiting_since: float, not_before: float) -> float:
    """
    Return the seconds until the first poll of a trigger, with jitter.

    This is the rest of the first interval, which usually began with the worker's poll. If it is over, for example after
    a restart of the triggerer, the poll is due at once, unless ``not_before`` is later. Both Unix times come from the
    worker's clock. If the triggerer's clock is behind it, the wait is at most one interval, or the ``Retry-After`` if
    that is longer.

    :param interval: Seconds between two polls.
    :param waiting_since: Unix time at which the first interval began; 0 if there is none.
    :param not_before: Unix time of the earliest poll, because of ``Retry-After``; 0 for none.
    """
    now = time.time()
    left = min(waiting_since + interval - now, interval)
    longest = not_before - waiting_since if waiting_since else MAX_REQUESTED_WAIT
    requested = min(not_before - now, longest, MAX_REQUESTED_WAIT)
    return max(left, requested, 0.0) + _jitter(interval)


def next_wait(interval: float, due_in: float) -> float:
    """
    Return the seconds until the next poll of a trigger, with jitter.

    :param interval: Seconds between two polls.
    :param due_in: Seconds until the poll is due; 0 if it is overdue.
    """
    return max(due_in, SHORTEST_WAIT) + _jitter(interval)


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
            problem = error
        except Exception as error:
            # Raising it would end the shared poll of all sensors, and Airflow would skip those with soft_fail.
            log.exception("Balance poll on connection %r failed unexpectedly.", self._conn_id)
            problem = LeadMagicError(
                f"Balance poll failed unexpectedly ({type(error).__name__}): see the traceback in the triggerer log."
            )
        else:
            return Reading(time.monotonic(), refresh, balance)
        return Reading(time.monotonic(), refresh, error=problem, failures=failures + 1)

    async def _read_balance(self, refresh: bool) -> CreditBalance:
        return await poll_once(self._conn_id, methodcaller("refresh_credits" if refresh else "get_credits"))


#: Readings by event loop and connection ID. They are shared only within a loop, because a lock cannot be used in two.
_shared_readings: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, SharedReading]] = WeakKeyDictionary()

_reported: WeakSet[Reading] = WeakSet()


class PollSlots:
    """
    Limits the polls of one connection that run at the same time, each of which occupies a thread.

    If LeadMagic or the secrets backend does not respond, only the triggers of this connection wait for a slot.
    """

    def __init__(self) -> None:
        self.free = asyncio.Semaphore(POLLS_AT_A_TIME)
        #: Polls of bulk jobs queue here, and only the first of them waits for a slot, so that a poll of the balance
        #: never waits behind more than one of them.
        self.job_queue = asyncio.Lock()
        #: Lookups of the connection that are running, including those that were given up.
        self.lookups = 0


#: Slots by event loop and connection ID.
_poll_slots: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, PollSlots]] = WeakKeyDictionary()


async def poll_once(conn_id: str, request: Callable[[LeadMagicClient], T], *, is_job: bool = False) -> T:
    """
    Wait for a slot of the connection, and send a request in a thread.

    A request cannot be interrupted. If the caller is cancelled meanwhile, the caller ends at once, and the request
    keeps its slot until it ends.

    :param conn_id: Connection to poll.
    :param request: Sends the request with the given client, which makes a single attempt.
    :param is_job: Whether this is the poll of a bulk job, of which there may be hundreds.
    :raises LeadMagicConnectionError: If the connection cannot be read or is invalid.
    """
    slots = _poll_slots.setdefault(asyncio.get_running_loop(), {}).setdefault(conn_id, PollSlots())
    async with slots.job_queue if is_job else nullcontext():
        await slots.free.acquire()
    return await leave_running_if_cancelled(_send(conn_id, request, slots))


async def _send(conn_id: str, request: Callable[[LeadMagicClient], T], slots: PollSlots) -> T:
    try:
        client = await _client_for_one_poll(conn_id, slots)
        try:
            return await in_thread(request, client)
        finally:
            client.close()
    finally:
        slots.free.release()


def open_client(conn_id: str, **limits: Any) -> LeadMagicClient:
    """
    Build a client for a task. If it fails, the error is the same as in a trigger.

    :param conn_id: Connection to use.
    :param limits: Arguments of :class:`~airflow_provider_leadmagic.hooks.leadmagic.LeadMagicHook`.
    :raises LeadMagicConnectionError: If the connection cannot be read or is invalid.
    """
    try:
        return LeadMagicHook(conn_id, **limits).get_conn()
    except Exception as error:
        raise _unreadable(conn_id, error) from error


async def _client_for_one_poll(conn_id: str, slots: PollSlots) -> LeadMagicClient:
    """
    Build a client without retries, because the next poll is the retry.

    Each poll builds a new client, so that it uses a key or host that was corrected in the connection meanwhile.

    :param conn_id: Connection to use.
    :param slots: The slots of the connection.
    :raises LeadMagicConnectionError: If the connection cannot be read or is invalid.
    """
    # A lookup that hangs occupies a thread, and the next poll needs another one. So the time limit grows with the
    # number of lookups that hang: threads are then added more and more slowly.
    limit = LOOKUP_TIMEOUT * (slots.lookups + 1)
    try:
        return await leave_running_if_cancelled(_look_up(conn_id, slots), limit)
    except StillRunningError:
        problem = f"Connection {conn_id!r} cannot be read (no response from Airflow within {limit:g} s)."
        raise LeadMagicConnectionError(problem, request_sent=False) from None
    except Exception as error:
        raise _unreadable(conn_id, error) from error


def _unreadable(conn_id: str, error: Exception) -> LeadMagicConnectionError:
    # The connection was valid when the task started to wait. Airflow reports an outage of its secrets backend or
    # database as a missing connection: a reason to keep waiting, not to fail all waiting tasks.
    unreadable = f"Connection {conn_id!r} cannot be read ({type(error).__name__})."
    message = str(error) if isinstance(error, LeadMagicError) else unreadable
    return LeadMagicConnectionError(message, request_sent=False)


async def _look_up(conn_id: str, slots: PollSlots) -> LeadMagicClient:
    slots.lookups += 1
    try:
        return await LeadMagicHook(conn_id, max_attempts=1).aget_conn()
    finally:
        slots.lookups -= 1


@asynccontextmanager
async def one_at_a_time() -> AsyncIterator[None]:
    """
    Wait for an event-loop iteration in which no other sensor trigger is being evaluated.

    One reading wakes all triggers in the same iteration. If a thousand triggers log a line each, that iteration takes
    a third of a second, during which no other trigger can run.
    """
    async with _evaluation_locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        await asyncio.sleep(0)  # until the next iteration; the lock keeps other triggers from being evaluated in it
        yield


_evaluation_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
