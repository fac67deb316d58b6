"""What the tests of the client share: a client, a clock that does not tick, and a server that says what it is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace

import pytest

from airflow_provider_leadmagic.client import LeadMagicClient


class ScriptedServer:
    """
    Say scripted bytes on a loopback socket, whatever is asked.

    :param answers: What to send, one per connection. The connection is closed after it, unless it ends in ``...``.
    """

    def __init__(self, *answers: bytes) -> None:
        self.requests: list[bytes] = []
        self._answers = answers
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        host, port = self._listener.getsockname()
        return f"http://{host}:{port}"

    def stop(self) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        with suppress(OSError):  # the client hung up, or the test is over
            for answer in self._answers:
                connection, _ = self._listener.accept()
                with connection:
                    self.requests.append(connection.recv(65536))
                    connection.sendall(answer.removesuffix(b"..."))
                    if answer.endswith(b"..."):
                        self._over.wait(5)


@pytest.fixture
def scripted_server() -> Iterator[Callable[..., ScriptedServer]]:
    """Give a function that starts a server which says scripted bytes."""
    servers: list[ScriptedServer] = []

    def start(*answers: bytes) -> ScriptedServer:
        servers.append(ScriptedServer(*answers))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let retries wait no time at all, and list how long each would have waited."""
    waits: list[float] = []
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=waits.append))
    return waits


@pytest.fixture
def client(leadmagic_sandbox) -> Iterator[LeadMagicClient]:
    with LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url) as client:
        yield client


@pytest.fixture
def closed_port() -> int:
    """Find a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
