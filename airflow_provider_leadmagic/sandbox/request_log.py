"""The log of the requests that the API received, and the path patterns by which tests select requests."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, replace

LONGEST_LOG = 10_000
ANY = "*"


def path_matches(pattern: str, path: str) -> bool:
    """
    Return whether a path matches a pattern.

    :param pattern: ``*`` for every path, or a path in which ``*`` stands for any one part, an id for example.
    :param path: the path of a request.
    """
    if pattern == ANY:
        return True
    parts, wanted_parts = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted_parts) and all(
        wanted in (ANY, part) for wanted, part in zip(wanted_parts, parts, strict=True)
    )


@dataclass
class LoggedRequest:
    """
    One request. It never holds the API key, only whether one was sent.

    :param at: when the request arrived, in seconds since 1970.
    :param status: the status of the response; ``None`` until there is one.
    """

    at: float
    method: str
    path: str
    status: int | None
    api_key_sent: bool
    user_agent: str | None


class RequestLog:
    """The newest requests, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[LoggedRequest] = deque(maxlen=LONGEST_LOG)

    def arrived(self, method: str, path: str, *, api_key_sent: bool, user_agent: str | None) -> LoggedRequest:
        """
        Log a request when it arrives, so that one that never gets a response is seen too.

        :return: the entry; the caller sets its status.
        """
        entry = LoggedRequest(time.time(), method, path, None, api_key_sent, user_agent)
        with self._lock:
            self._entries.append(entry)
        return entry

    def entries(self, path: str | None = None) -> list[LoggedRequest]:
        """
        Copy the log.

        :param path: a pattern that the requests have to match.
        """
        with self._lock:
            return [replace(entry) for entry in self._entries if path is None or path_matches(path, entry.path)]

    def count_since(self, moment: float) -> int:
        """Count the requests since a time, in seconds since 1970."""
        with self._lock:
            return sum(entry.at >= moment for entry in self._entries)

    def clear(self) -> None:
        """Remove all requests."""
        with self._lock:
            self._entries.clear()
