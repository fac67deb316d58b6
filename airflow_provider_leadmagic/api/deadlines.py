"""
HTTP for ``requests`` in which every response ends: in time, and in lines and headers of a size that fits memory.

A socket's timeout is for a single read, and whoever sends the bytes decides how many reads a response takes; neither
http.client nor urllib3 nor requests adds them up. So the clock is looked at where all bytes pass, those of headers,
chunk sizes and a proxy's response to CONNECT included: between the socket and the buffer that http.client reads from.
"""

from __future__ import annotations

import http.client
import io
import time
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from requests.adapters import HTTPAdapter

if TYPE_CHECKING:
    import socket

    import requests

#: Longest line of a head, or between two chunks, in bytes. http.client knows the same limit, but not everywhere.
LONGEST_LINE = 65536


class DeadlineAdapter(HTTPAdapter):
    """Makes connections, to hosts and to proxies, whose timeout for reads is one for the response as a whole."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the manager of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        _bound(self.poolmanager)

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        """Make the manager of connections through a proxy, once for each."""
        is_new = proxy not in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        if is_new:
            _bound(manager)
        return manager


class Deadline:
    """
    The moment by which a response, or the next piece of it, has to be there.

    :param seconds: From now, and again from each renewal.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Begin anew, because enough has come."""
        self._at = time.monotonic() + self._seconds

    def left(self) -> float:
        """
        Tell how many seconds are left.

        :raises TimeoutError: If there are none.
        """
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def deadline_of(response: requests.Response) -> Deadline:
    """Find the deadline of a response of which nothing but the head was read."""
    connection = cast("_BoundedConnection | None", response.raw.connection)
    # A response without a body has let go of its connection already, and has nothing more to wait for.
    return connection.deadline if connection else Deadline(0)


def _bound(manager: Any) -> None:
    pools = manager.pool_classes_by_scheme.items()
    manager.pool_classes_by_scheme = {scheme: _bounded(pool) for scheme, pool in pools}


@cache
def _bounded(pool: type[Any]) -> type[Any]:
    connection = type("BoundedConnection", (_BoundedConnection, pool.ConnectionCls), {})
    return type("BoundedPool", (pool,), {"ConnectionCls": connection})


class _BoundedConnection:
    """What is mixed into a connection of urllib3."""

    deadline: Deadline

    def response_class(self, sock: socket.socket, *args: Any, **kwargs: Any) -> _BoundedResponse:
        """Begin to wait for a response: http.client calls this when the request has been sent."""
        self.deadline = Deadline(cast("float", sock.gettimeout()))  # no request of ours goes without a timeout
        return _BoundedResponse(sock, self.deadline, *args, **kwargs)

    def _tunnel(self) -> None:
        """Ask a proxy to connect. What it answers wrongly is said as a refusal is: the request itself was not sent."""
        try:
            super()._tunnel()  # type: ignore[misc]
        except http.client.HTTPException as error:
            raise OSError(f"Tunnel connection failed: {error}") from error


class _BoundedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, deadline: Deadline, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        unbuffered = self.fp.detach()
        self.fp = self._reader = _BoundedReader(_TimedReads(unbuffered, sock, deadline))

    def begin(self) -> None:
        """Skip informational responses. http.client skips 100 Continue, but takes a 103 for the response."""
        super().begin()
        while self.status < 200:
            self.headers = self.msg = cast("Any", None)
            super().begin()
        self._reader.is_in_head = False


class _BoundedReader(io.BufferedReader):
    is_in_head = True

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(LONGEST_LINE + 1)
        if len(line) > LONGEST_LINE:
            raise http.client.LineTooLong("line")
        if self.is_in_head and not line.endswith(b"\n"):
            # To http.client a head that is cut short is a head, and nothing a body.
            raise http.client.RemoteDisconnected("the connection was closed within the headers")
        return line

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            # urllib3 asks for this when a chunk announces that it has less than no bytes.
            raise http.client.IncompleteRead(b"")
        return super().read(size)


class _TimedReads(io.RawIOBase):
    def __init__(self, unbuffered: io.RawIOBase | BinaryIO, sock: socket.socket, deadline: Deadline) -> None:
        self._unbuffered = unbuffered
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        timeout = self._sock.gettimeout()
        self._sock.settimeout(self._deadline.left())
        try:
            return cast("io.RawIOBase", self._unbuffered).readinto(buffer)
        finally:
            self._sock.settimeout(timeout)  # the handshake that follows a CONNECT has its own

    def close(self) -> None:
        super().close()
        self._unbuffered.close()
