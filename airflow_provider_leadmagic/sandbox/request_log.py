"""The log of the requests to the API, and the path patterns that select requests."""

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

    :param pattern: ``*`` alone matches every path; in a path, ``*`` matches any one segment, for example a job ID.
    :param path: The path of a request, without the query.
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
    A logged request. It never contains the API key, only whether one was sent.

    :param at: When the request arrived, in seconds since the Unix epoch.
    :param method: The HTTP method.
    :param path: The path, without the query.
    :param status: The HTTP status of the response; ``None`` if no response was sent, or not yet.
    :param api_key_sent: Whether the request had an API key header, valid or not.
    :param user_agent: The ``User-Agent`` header; ``None`` if there was none.
    """

    at: float
    method: str
    path: str
    status: int | None
    api_key_sent: bool
    user_agent: str | None


class RequestLog:
    """The newest 10,000 requests, oldest first. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[LoggedRequest] = deque(maxlen=LONGEST_LOG)

    def arrived(self, method: str, path: str, *, api_key_sent: bool, user_agent: str | None) -> LoggedRequest:
        """
        Add a request to the log on arrival, so that a request that never gets a response is logged too.

        :return: The entry, whose status the caller sets when the response starts.
        """
        entry = LoggedRequest(time.time(), method, path, None, api_key_sent, user_agent)
        with self._lock:
            self._entries.append(entry)
        return entry

    def entries(self, path: str | None = None) -> list[LoggedRequest]:
        """
        Return a copy of the log, oldest request first.

        :param path: Return only the requests whose path matches this pattern, see :func:`path_matches`.
        """
        with self._lock:
            return [replace(entry) for entry in self._entries if path is None or path_matches(path, entry.path)]

    def count_since(self, moment: float) -> int:
        """Return the number of requests since a time, given in seconds since the Unix epoch."""
        with self._lock:
            return sum(entry.at >= moment for entry in self._entries)

    def clear(self) -> None:
        """Remove all requests."""
        with self._lock:
            self._entries.clear()
