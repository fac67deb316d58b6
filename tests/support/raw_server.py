"""A TCP server that sends arbitrary bytes with arbitrary pauses, as a hostile server could."""

from __future__ import annotations

import itertools
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

#: What a server does on one connection: bytes are sent, numbers are pauses in seconds. It then closes the connection.
Steps = Iterable[bytes | float]

#: Seconds between two bytes of a trickle: far less than any read timeout in the tests.
TRICKLE_INTERVAL = 0.02
#: Seconds after which a script ends, so that client code without a limit fails its test instead of hanging.
MAX_SECONDS = 8.0
SILENCE = [MAX_SECONDS]


class RawServer:
    """
    Run the next script on each connection; after the last script, repeat it.

    :param scripts: Functions that return the steps of one connection, or bytes as its only step.
    :param tls: TLS context; the scripts start after the handshake.
    :param read_request: Whether to read the request before the first step.
    """

    def __init__(
        self, *scripts: Callable[[], Steps] | bytes, tls: ssl.SSLContext | None = None, read_request: bool = True
    ) -> None:
        self.connected_at: list[float] = []
        self.requests: list[bytes] = []
        functions = [send(script) if isinstance(script, bytes) else script for script in scripts]
        self._scripts = itertools.chain(functions, itertools.repeat(functions[-1]))
        self._tls = tls
        self._read_request = read_request
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def stop(self) -> None:
        self._stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        with suppress(OSError):  # the listener is closed at the end of the test
            while True:
                connection, _ = self._listener.accept()
                connection.settimeout(5)
                with connection, suppress(OSError):  # the client closed the connection, as it should
                    self._run_script(connection)

    def _run_script(self, connection: socket.socket) -> None:
        self.connected_at.append(time.monotonic())
        if self._tls:
            connection = self._tls.wrap_socket(connection, server_side=True)
        if self._read_request:
            self.requests.append(_request_from(connection))
        for step in next(self._scripts)():
            if isinstance(step, bytes):
                connection.sendall(step)
            elif self._stopped.wait(step):
                return
            if time.monotonic() > self.connected_at[-1] + MAX_SECONDS:
                return
        connection.close()


def send(*steps: bytes | float) -> Callable[[], Steps]:
    """Return a script with these steps."""
    return lambda: steps


def send_endlessly(head: bytes, chunk: bytes) -> Callable[[], Steps]:
    """Return a script that sends a head once and then a chunk repeatedly, as fast as the client reads."""
    return lambda: itertools.chain([head], itertools.repeat(chunk))


def trickle(head: bytes, rest: Iterable[bytes]) -> Callable[[], Steps]:
    """Return a script that sends a head and then the rest byte by byte, too fast for a timeout of a single read."""
    return lambda: itertools.chain([head], _byte_by_byte(rest))


def _request_from(connection: socket.socket) -> bytes:
    """Read a request with its body, or whatever else the client sends first."""
    request = connection.recv(65536)
    head, _, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\ncontent-length: (\d+)", head)
    missing = int(length[1]) - len(body) if length else 0
    while missing > 0 and (data := connection.recv(65536)):
        request += data
        missing -= len(data)
    return request


def _byte_by_byte(rest: Iterable[bytes]) -> Iterator[bytes | float]:
    for part in rest:
        for index in range(len(part)):
            yield TRICKLE_INTERVAL
            yield part[index : index + 1]
