"""One poll of a balance for everyone in this process who waits on it."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from airflow_provider_leadmagic.exceptions import LeadMagicConnectionError, LeadMagicError
from airflow_provider_leadmagic.gate import requested_wait
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from airflow_provider_leadmagic.client import LeadMagicClient
    from airflow_provider_leadmagic.models import CreditBalance


@dataclass(frozen=True)
class Look:
    """
    One look at a balance: what was seen, or why nothing was.

    :param taken_at: When, by the process's monotonic clock.
    :param balance: The balance, if the look succeeded.
    :param error: The error, if it did not.
    :param failures: How many looks have failed in a row, this one included.
    """

    taken_at: float
    balance: CreditBalance | None = None
    error: LeadMagicError | None = None
    failures: int = 0

    def due_in(self, interval: float) -> float:
        """Tell how many seconds from now the next look may be made."""
        return self.taken_at + max(interval, requested_wait(self.error)) - time.monotonic()


async def watch_balance(
    conn_id: str, interval: float, *, refresh: bool = False, not_before: float = 0.0
) -> AsyncGenerator[Look, None]:
    """
    Look at a balance again and again; never returns.

    Any number of these on one connection and in one event loop make about one request per interval together: who
    wakes first looks, and the others find that look when they wake a moment later.

    :param conn_id: The connection.
    :param interval: Seconds from one look to the next, plus up to a tenth so that many processes do not fall into step.
    :param refresh: Whether LeadMagic should re-read the balance from its database for each look.
    :param not_before: Unix time before which not to look.
    """
    await asyncio.sleep(max(_with_jitter(interval), not_before - time.time()))
    shared = _shared_looks(conn_id, refresh)
    while True:
        look = await shared.take(interval)
        yield look
        await asyncio.sleep(_with_jitter(interval, least=look.due_in(interval)))


def _with_jitter(interval: float, least: float | None = None) -> float:
    return (interval if least is None else max(least, 0.0)) + random.uniform(0, interval / 10)  # noqa: S311


class SharedLooks:
    """
    The latest look at one balance, renewed by whoever asks first after it is due.

    :param conn_id: The connection.
    :param refresh: Whether LeadMagic should re-read the balance from its database for each look.
    """

    #: How much of an interval a look stays good. Less than all of it, so that who sleeps an interval finds it due.
    _FRESH = 0.9

    def __init__(self, conn_id: str, refresh: bool) -> None:
        self._conn_id = conn_id
        self._refresh = refresh
        self._lock = asyncio.Lock()
        self._latest: Look | None = None

    async def take(self, interval: float) -> Look:
        """
        Return the latest look if it is not due for renewal, else a new one.

        :param interval: Seconds between looks.
        """
        async with self._lock:
            if self._latest is None or self._latest.due_in(interval * self._FRESH) <= 0:
                self._latest = await self._look(self._latest.failures if self._latest else 0)
            return self._latest

    async def _look(self, failures: int) -> Look:
        try:
            balance = await self._read_balance()
        except LeadMagicError as error:
            return Look(time.monotonic(), error=error, failures=failures + 1)
        return Look(time.monotonic(), balance=balance)

    async def _read_balance(self) -> CreditBalance:
        # A new hook each time: a key or an address corrected in the connection is used from the next look on.
        client = await self._client()
        try:
            return await asyncio.to_thread(client.refresh_credits if self._refresh else client.get_credits)
        finally:
            client.close()

    async def _client(self) -> LeadMagicClient:
        try:
            return await LeadMagicHook(self._conn_id, max_tries=1).aget_conn()
        except LeadMagicError:
            raise
        except Exception as error:
            # Airflow's own database or API server is away: a reason to wait, not to fail everybody's gate.
            problem = f"Connection {self._conn_id!r} could not be read from Airflow: {type(error).__name__}."
            raise LeadMagicConnectionError(problem, request_sent=False) from error


_looks_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, bool], SharedLooks]] = WeakKeyDictionary()


def _shared_looks(conn_id: str, refresh: bool) -> SharedLooks:
    """Find the looks shared in this event loop; a lock cannot cross loops, and a test's loop must not see another's."""
    looks = _looks_of_loop.setdefault(asyncio.get_running_loop(), {})
    return looks.setdefault((conn_id, refresh), SharedLooks(conn_id, refresh))
