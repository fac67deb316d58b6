"""Fixtures for tests of the HTTP client."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest


@pytest.fixture
def full_queue() -> Iterator[str]:
    """URL of a port whose connection queue is full, so that connecting to it hangs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for connection in waiting:
            connection.close()
