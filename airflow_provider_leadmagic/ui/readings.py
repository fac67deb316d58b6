"""
Read LeadMagic's numbers for the page.

Each API-server process sends at most two requests a minute for a connection, however many people look at the page.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_leadmagic.compat.imports import AirflowNotFoundException
from airflow_provider_leadmagic.decisions.gate import requested_wait
from airflow_provider_leadmagic.exceptions import LeadMagicConfigurationError, LeadMagicError
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_leadmagic.client import LeadMagicClient

#: Number of days of the usage, today included.
DAYS = 30
MAX_REQUESTS = 2
#: Seconds in which at most ``MAX_REQUESTS`` requests are sent.
WINDOW = 60.0
#: Timeout of each request in seconds. It is short because a user waits for the page.
TIMEOUT = 10.0
#: Longest time, in seconds, that a view of the page waits for the first numbers while another view is already
#: requesting them.
PATIENCE = 2.0
#: Seconds after which a failed request is repeated.
RETRY_AFTER = 60.0


class Source(NamedTuple):
    """
    A request to LeadMagic.

    :param read: Sends the request and returns the result.
    :param max_age: Seconds for which the result is shown without another request.
    """

    read: Callable[[LeadMagicClient], Any]
    max_age: float


#: All requests of the page, the most important one first. Each is free of charge.
SOURCES: dict[str, Source] = {
    "balance": Source(lambda client: client.get_credits(), 60.0),
    "usage": Source(lambda client: client.analytics.usage(DAYS), 900.0),
    "jobs": Source(lambda client: [job for job in client.bulk.latest() if not job.is_finished], 60.0),
    "products": Source(lambda client: client.analytics.products(DAYS), 900.0),
}


class Reading(NamedTuple):
    """
    The latest result of a request.

    :param value: The result; None if the request failed.
    :param error: Why it failed.
    :param read_at: Unix time.
    :param max_age: Seconds for which it is shown without another request.
    """

    value: Any
    error: str | None
    read_at: float
    max_age: float = 0.0


class AccountReadings:
    """
    The readings of one connection in this process.

    :param conn_id: Connection ID.
    """

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self._readings: dict[str, Reading] = {}
        self._requested_at: deque[float] = deque(maxlen=MAX_REQUESTS)
        self._lock = threading.Lock()

    def get(self) -> Mapping[str, Reading]:
        """Send the requests that are due, and return the readings by source. Sources without a reading are missing."""
        # While another view waits for LeadMagic, this one shows the previous numbers, or waits if there are none.
        if self._lock.acquire(timeout=0.0 if self._readings else PATIENCE):
            try:
                self._refresh()
            finally:
                self._lock.release()
        return dict(self._readings)

    def _refresh(self) -> None:
        for name in sorted(self._due(), key=self._urgency):
            if len(self._requested_at) == MAX_REQUESTS and time.monotonic() - self._requested_at[0] < WINDOW:
                return
            self._requested_at.append(time.monotonic())
            self._readings[name] = self._read(SOURCES[name])

    def _due(self) -> list[str]:
        now = time.time()
        return [
            name
            for name in SOURCES
            if name not in self._readings or now - self._readings[name].read_at >= self._readings[name].max_age
        ]

    def _urgency(self, name: str) -> float:
        """Return a sort key: the oldest reading is renewed first, but the balance always comes before all others."""
        return self._readings[name].read_at if name in self._readings and name != "balance" else 0.0

    def _read(self, source: Source) -> Reading:
        hook = LeadMagicHook(self._conn_id, max_attempts=1, max_timeout=TIMEOUT)
        try:
            _check_type(hook)
            with hook.get_conn() as client:
                return Reading(source.read(client), None, time.time(), source.max_age)
        except LeadMagicError as error:
            return Reading(None, str(error), time.time(), max(RETRY_AFTER, requested_wait(error)))
        except Exception as error:
            # Only the type: messages of databases and secrets backends may contain passwords.
            problem = f"Cannot read connection {self._conn_id!r} ({type(error).__name__}): check the secrets backend."
            return Reading(None, problem, time.time(), RETRY_AFTER)


def _check_type(hook: LeadMagicHook) -> None:
    """
    Refuse connections of other types: the ID may come from an XCom, and the password of a connection to another service
    must not be sent to LeadMagic.
    """
    try:
        kind = hook.get_connection(hook.leadmagic_conn_id).conn_type
    except AirflowNotFoundException:
        return  # the hook explains it
    if kind and kind != hook.conn_type:
        subject = f"Connection {hook.leadmagic_conn_id!r}"
        raise LeadMagicConfigurationError(f"{subject} has the type {kind!r}: change it to {hook.conn_type!r}.")


_accounts: dict[str, AccountReadings] = {}


def readings_of(conn_id: str) -> Mapping[str, Reading]:
    """
    Send the requests for a connection that are due, and return its readings.

    :param conn_id: ID of an existing connection.
    """
    return _accounts.setdefault(conn_id, AccountReadings(conn_id)).get()
