"""A server that breaks every rule: it sends bytes and pauses as a test says, below anything that knows HTTP."""

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

#: What a server says on one connection: bytes to send, and seconds to be silent. It hangs up afterwards.
Steps = Iterable[bytes | float]

#: Seconds between two bytes of a trickle: far less than any timeout of a read here.
DRIP = 0.02
#: Seconds after which a script ends, so that code without a bound fails its test rather than hang it.
LONGEST = 8.0
SILENCE = [LONGEST]


class RawServer:
    """
    Answer each connection with the next script, and all further ones with the last.

    :param scripts: Functions that give the steps of one connection, or the bytes that are its only step.
    :param tls: Makes it speak TLS; its scripts then begin after the handshake.
    :param hear_request: Whether to wait for the request before the first step.
    """

    def __init__(
        self, *scripts: Callable[[], Steps] | bytes, tls: ssl.SSLContext | None = None, hear_request: bool = True
    ) -> None:
        self.asked_at: list[float] = []
        self.requests: list[bytes] = []
        plays = [saying(script) if isinstance(script, bytes) else script for script in scripts]
        self._scripts = itertools.chain(plays, itertools.repeat(plays[-1]))
        self._tls = tls
        self._hear_request = hear_request
        self._over = threading.Event()
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
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        with suppress(OSError):  # the test is over
            while True:
                connection, _ = self._listener.accept()
                connection.settimeout(5)
                with connection, suppress(OSError):  # the client hung up, which is what it should do
                    self._play(connection)

    def _play(self, connection: socket.socket) -> None:
        self.asked_at.append(time.monotonic())
        if self._tls:
            connection = self._tls.wrap_socket(connection, server_side=True)
        if self._hear_request:
            self.requests.append(_request_from(connection))
        for step in next(self._scripts)():
            if isinstance(step, bytes):
                connection.sendall(step)
            elif self._over.wait(step):
                return
            if time.monotonic() > self.asked_at[-1] + LONGEST:
                return
        connection.close()


def saying(*steps: bytes | float) -> Callable[[], Steps]:
    """Make a script of a few steps."""
    return lambda: steps


def endless(head: bytes, piece: bytes) -> Callable[[], Steps]:
    """Make a script that says something, and then something else again and again as fast as it is read."""
    return lambda: itertools.chain([head], itertools.repeat(piece))


def trickling(head: bytes, rest: Iterable[bytes]) -> Callable[[], Steps]:
    """Make a script that says something, and the rest at a pace that no timeout of a single read can notice."""
    return lambda: itertools.chain([head], _drops(rest))


def _request_from(connection: socket.socket) -> bytes:
    """Read a request with all of its body, or what comes instead of one."""
    request = connection.recv(65536)
    head, _, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\ncontent-length: (\d+)", head)
    missing = int(length[1]) - len(body) if length else 0
    while missing > 0 and (piece := connection.recv(65536)):
        request += piece
        missing -= len(piece)
    return request


def _drops(rest: Iterable[bytes]) -> Iterator[bytes | float]:
    for piece in rest:
        for index in range(len(piece)):
            yield DRIP
            yield piece[index : index + 1]
