"""
Adapter for ``requests`` that bounds the time of a whole response, and the size of its lines and headers.

A socket timeout applies to a single read, and the server decides how many reads a response takes; neither http.client
nor urllib3 nor requests limits their total time. This adapter therefore checks a deadline between the socket and the
buffer of http.client, where all bytes pass, including headers, chunk sizes and a proxy's response to CONNECT.

If CA certificates cannot be loaded, the adapter raises CACertificatesError, not the error of a failed connection. It
also marks exceptions that are raised before a request is sent.
"""

from __future__ import annotations

import http.client
import io
import time
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from requests.adapters import DEFAULT_CA_BUNDLE_PATH, HTTPAdapter
from urllib3.exceptions import SSLError

if TYPE_CHECKING:
    import socket

    import requests

#: Longest header or chunk-size line, in bytes. http.client has the same limit, but does not apply it everywhere.
LONGEST_LINE = 65536
#: Note on exceptions that were raised before anything of the request was sent.
NOT_SENT = "The request was not sent."


class CACertificatesError(Exception):
    """
    The CA certificates cannot be loaded, so that no server can be trusted. Nothing was sent.

    :param path: File or folder of the certificates.
    :param reason: What is wrong with it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason


class DeadlineAdapter(HTTPAdapter):
    """HTTP adapter whose read timeout covers a whole response, or each part of a download, even through a proxy."""

    def cert_verify(self, conn: Any, url: str, verify: bool | str, cert: Any) -> None:
        """
        Set the CA certificates of a connection. The ``requests`` library calls this method before it sends a request.

        :raises CACertificatesError: If the file or folder does not exist.
        """
        try:
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
        except OSError:
            path = verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH
            raise CACertificatesError(path, "No such file or directory") from None

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Create the manager of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        _bound(self.poolmanager)

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        """Return the manager of connections through a proxy; create it on the first call."""
        is_new = proxy not in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        if is_new:
            _bound(manager)
        return manager


class Deadline:
    """
    Time limit for a response or the next part of it.

    :param seconds: Duration of the limit, counted from the creation and from each renewal.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Restart the time limit after enough data has arrived."""
        self._at = time.monotonic() + self._seconds

    def left(self) -> float:
        """
        Return how many seconds are left.

        :raises TimeoutError: If the time limit is exceeded.
        """
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def deadline_of(response: requests.Response) -> Deadline:
    """Return the deadline of a response whose body has not been read yet."""
    connection = cast("_BoundedConnection | None", response.raw.connection)
    # A response without a body has released its connection already, and no more data is expected.
    return connection.deadline if connection else Deadline(0)


def _bound(manager: Any) -> None:
    pools = manager.pool_classes_by_scheme.items()
    manager.pool_classes_by_scheme = {scheme: _bounded(pool) for scheme, pool in pools}


@cache
def _bounded(pool: type[Any]) -> type[Any]:
    connection = type("BoundedConnection", (_BoundedConnection, pool.ConnectionCls), {})
    return type("BoundedPool", (pool,), {"ConnectionCls": connection})


class _BoundedConnection:
    """Mixin for the connection classes of urllib3."""

    deadline: Deadline
    #: Set by urllib3 for connections with TLS.
    ca_certs: str | None = None
    ca_cert_dir: str | None = None

    def connect(self) -> None:
        """
        Connect, before anything is sent.

        :raises CACertificatesError: If the CA certificates cannot be loaded.
        """
        try:
            super().connect()  # type: ignore[misc]
        except SSLError as error:  # urllib3's; a failed handshake raises ssl.SSLError
            raise CACertificatesError(self.ca_certs or self.ca_cert_dir or "", _ca_problem(error)) from None
        except Exception as error:
            error.add_note(NOT_SENT)
            raise

    def response_class(self, sock: socket.socket, *args: Any, **kwargs: Any) -> _BoundedResponse:
        """Start the deadline of a response; http.client calls this after it sent the request."""
        self.deadline = Deadline(cast("float", sock.gettimeout()))  # never None: Transport always sets a timeout
        return _BoundedResponse(sock, self.deadline, *args, **kwargs)

    def _tunnel(self) -> None:
        """Open a tunnel through a proxy. A response that is invalid or missing counts as a refusal."""
        try:
            super()._tunnel()  # type: ignore[misc]
        except (http.client.HTTPException, OSError) as error:
            raise OSError(f"Tunnel connection failed: {error}") from error


def _ca_problem(error: SSLError) -> str:
    cause = error.args[0]
    # For an invalid file, OpenSSL reports "no certificate or crl found" or "PEM lib", which explain nothing to a user.
    return "Permission denied" if isinstance(cause, PermissionError) else "Not a file of PEM certificates"


class _BoundedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, deadline: Deadline, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        unbuffered = self.fp.detach()
        self.fp = self._reader = _BoundedReader(_TimedReads(unbuffered, sock, deadline))

    def begin(self) -> None:
        """Skip informational responses. http.client skips 100 Continue, but treats a 103 as the final response."""
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
            # http.client accepts headers that are cut short, and assumes an empty body.
            raise http.client.RemoteDisconnected("the connection was closed within the headers")
        return line

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            # urllib3 passes on the negative size of an invalid chunk; reading to the end would be unbounded.
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
            self._sock.settimeout(timeout)  # the TLS handshake after a CONNECT has its own time limit

    def close(self) -> None:
        super().close()
        self._unbuffered.close()
