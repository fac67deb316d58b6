"""The log of the calls the API received."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, replace

from airflow_provider_leadmagic.sandbox.paths import path_fits

LONGEST_LOG = 10_000


@dataclass
class LoggedRequest:
    """
    One call; it never holds the API key, only whether one was sent.

    :param at: when the call arrived, in seconds since 1970.
    :param status: the status it was answered with, ``None`` while and if there was no answer.
    """

    at: float
    method: str
    path: str
    status: int | None
    api_key_sent: bool
    user_agent: str | None


class RequestLog:
    """The newest calls, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[LoggedRequest] = deque(maxlen=LONGEST_LOG)

    def arrived(self, method: str, path: str, *, api_key_sent: bool, user_agent: str | None) -> LoggedRequest:
        """
        Log a call at its arrival, so that a call without an answer is seen too.

        :return: the entry, for its status to be filled in.
        """
        entry = LoggedRequest(time.time(), method, path, None, api_key_sent, user_agent)
        with self._lock:
            self._entries.append(entry)
        return entry

    def entries(self, path: str | None = None) -> list[LoggedRequest]:
        """Copy the log, or its calls of one path."""
        with self._lock:
            return [replace(entry) for entry in self._entries if path is None or path_fits(path, entry.path)]

    def count_since(self, moment: float) -> int:
        """Count the calls from a moment on."""
        with self._lock:
            return sum(entry.at >= moment for entry in self._entries)

    def clear(self) -> None:
        """Forget all calls."""
        with self._lock:
            self._entries.clear()
