"""Serves the application from a thread of this process, on connections that faults can break."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import uvicorn
from starlette.datastructures import MutableHeaders
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

    from fastapi import FastAPI
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = "127.0.0.1"
START_LIMIT = 10.0
STOP_LIMIT = 5.0
# By how many bytes the announced length of a truncated response exceeds what is sent.
MISSING_BYTES = 64


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
        Listen, and return when requests are served.

        :raises OSError: if the server cannot listen on the address.
        """
        if self._server is not None:
            return
        listener = self._listen()
        self._server = uvicorn.Server(self._config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()
        self._wait_until_served(self._server)

    def stop(self) -> None:
        """Stop the server and wait for its thread."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(STOP_LIMIT)
        self._server = self._thread = None

    def _listen(self) -> socket.socket:
        listener = socket.create_server((self.host, self.port))
        # Accepted connections inherit it. Without it each response after the first on a connection takes 40 ms.
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


class BreakableConnection(H11Protocol):
    """Expose the transport to the application so that it can break the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Put the transport where uvicorn copies each request's ``scope["state"]`` from."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


async def drop_connection(scope: Scope, receive: Receive) -> None:
    """Close the connection at once, without a response."""
    scope["state"]["transport"].abort()
    await _wait_for_disconnect(receive)


async def lose_response(app: ASGIApp, scope: Scope, receive: Receive) -> None:
    """Let an application process the request, then close the connection without its response."""

    async def discard(message: Message) -> None:
        pass

    await app(scope, receive, discard)
    await drop_connection(scope, receive)


def truncating(send: Send, scope: Scope, receive: Receive) -> Send:
    """Wrap ``send`` so that the response, and the connection, end too early."""

    async def send_truncated(message: Message) -> None:
        if message["type"] == "http.response.start":
            _announce_more(MutableHeaders(scope=message))
            await send(message)
            return
        await send({**message, "more_body": True})
        if not message.get("more_body", False):
            scope["state"]["transport"].close()
            await _wait_for_disconnect(receive)

    return send_truncated


def _announce_more(headers: MutableHeaders) -> None:
    # A streamed response announces no length; it is cut where its last chunk would follow.
    if length := headers.get("Content-Length"):
        headers["Content-Length"] = str(int(length) + MISSING_BYTES)


async def _wait_for_disconnect(receive: Receive) -> None:
    # If the application returns before uvicorn notices the disconnect, uvicorn sends a 500.
    while (await receive())["type"] != "http.disconnect":
        pass
