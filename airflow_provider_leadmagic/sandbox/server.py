"""The HTTP server of the sandbox. It runs in a thread, and can break connections to simulate faults."""

from __future__ import annotations

import ipaddress
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
ALL_ADDRESSES = ("", "0.0.0.0", "::")  # noqa: S104 - users may pass these
# In seconds.
START_TIMEOUT = 10.0
STOP_TIMEOUT = 5.0
# The Content-Length of a truncated response exceeds its body by this many bytes.
MISSING_BYTES = 64


class SandboxServer:
    """
    Serve an application from a thread until it is stopped. A restarted server uses the same port.

    :param app: The application to serve.
    :param host: The address to listen on.
    :param port: The port to listen on; 0 picks a free port.
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
        Start the server, and return when it accepts requests. Do nothing if it is running.

        :raises OSError: If it cannot listen on the address, or does not accept requests within 10 seconds.
        """
        if self._server is not None:
            return
        listener = self._listen()
        self._server = uvicorn.Server(self._config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()
        self._wait_until_started(self._server)

    def stop(self) -> None:
        """Stop the server and wait up to 5 seconds for its thread. Do nothing if it is not running."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(STOP_TIMEOUT)
        self._server = self._thread = None

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        both = self.host == "::" and socket.has_dualstack_ipv6()
        listener = socket.create_server((self.host, self.port), family=family, dualstack_ipv6=both)
        # Inherited by accepted connections. Without it, each response after the first on a connection takes 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = listener.getsockname()[1]
        return listener

    def _wait_until_started(self, server: uvicorn.Server) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not server.started:
            if time.monotonic() > deadline:
                self.stop()
                raise TimeoutError(
                    f"Sandbox did not start on {netloc(self.host, self.port)} within {START_TIMEOUT:.0f} s"
                )
            time.sleep(0.005)


def netloc(host: str, port: int) -> str:
    """Join a host and a port as in a URL, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Return whether a host is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def own_address() -> str:
    """Return the IPv4 address of this machine in its private network; loopback if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a UDP socket selects the network interface and sends nothing.
            probe.connect(("198.51.100.1", 9))
        except OSError:
            return LOOPBACK
        address: str = probe.getsockname()[0]
    return address if ipaddress.ip_address(address).is_private else LOOPBACK


class BreakableConnection(H11Protocol):
    """Expose the transport to the application so that it can break the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Store the transport in ``app_state``, which uvicorn copies to ``scope["state"]`` of each request."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


async def drop_connection(scope: Scope, receive: Receive) -> None:
    """Close the connection immediately, without a response."""
    scope["state"]["transport"].abort()
    await _wait_for_disconnect(receive)


async def lose_response(app: ASGIApp, scope: Scope, receive: Receive) -> None:
    """Process the request in an application, then close the connection without sending the response."""

    async def discard(message: Message) -> None:
        pass

    await app(scope, receive, discard)
    await drop_connection(scope, receive)


def truncating(send: Send, scope: Scope, receive: Receive) -> Send:
    """Wrap ``send`` so that the connection closes before the response is complete."""

    async def send_truncated(message: Message) -> None:
        if message["type"] == "http.response.start":
            _increase_length(MutableHeaders(scope=message))
            await send(message)
            return
        await send({**message, "more_body": True})
        if not message.get("more_body", False):
            scope["state"]["transport"].close()
            await _wait_for_disconnect(receive)

    return send_truncated


def _increase_length(headers: MutableHeaders) -> None:
    # A streamed response has no Content-Length. It is truncated by omitting its final chunk.
    if length := headers.get("Content-Length"):
        headers["Content-Length"] = str(int(length) + MISSING_BYTES)


async def _wait_for_disconnect(receive: Receive) -> None:
    # If the application returns before uvicorn notices the disconnect, uvicorn sends a 500 response.
    while (await receive())["type"] != "http.disconnect":
        pass
