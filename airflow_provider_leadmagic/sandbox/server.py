"""A server in a thread of this process."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import uvicorn

from airflow_provider_leadmagic.sandbox.broken_connections import BreakableConnection

if TYPE_CHECKING:
    from fastapi import FastAPI

LOOPBACK = "127.0.0.1"
START_LIMIT = 10.0
STOP_LIMIT = 5.0


class SandboxServer:
    """
    Serve an application until stopped; a restart uses the same port.

    :param app: the application.
    :param host: the address to listen on.
    :param port: the port to listen on, 0 for any free one.
    """

    def __init__(self, app: FastAPI, host: str = LOOPBACK, port: int = 0) -> None:
        self.host = host
        self.port = port
        self._config = uvicorn.Config(
            app,
            http=BreakableConnection,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",
            timeout_graceful_shutdown=1,
        )
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """
        Listen, and return when calls are served.

        :raises OSError: if the address cannot be listened on.
        """
        if self._server is not None:
            return
        listener = self._listen()
        self._server = uvicorn.Server(self._config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()
        self._wait_until_served(self._server)

    def stop(self) -> None:
        """End the server and wait for it."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(STOP_LIMIT)
        self._server = self._thread = None

    def _listen(self) -> socket.socket:
        listener = socket.create_server((self.host, self.port))
        # Accepted connections inherit it; without it each answer after a connection's first takes 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = listener.getsockname()[1]
        return listener

    def _wait_until_served(self, server: uvicorn.Server) -> None:
        deadline = time.monotonic() + START_LIMIT
        while not server.started:
            if time.monotonic() > deadline:
                self.stop()
                raise TimeoutError(f"the sandbox did not start within {START_LIMIT:.0f} seconds")
            time.sleep(0.005)
