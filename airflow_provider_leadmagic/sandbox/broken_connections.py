"""Connections that end too early."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MISSING_BYTES = 64


class BreakableConnection(H11Protocol):
    """A connection that hands its transport to the application, which else has no way to break it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Put the transport where uvicorn copies each request's ``scope["state"]`` from."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


async def drop(scope: Scope, receive: Receive) -> None:
    """Close the connection at once, without an answer."""
    scope["state"]["transport"].abort()
    await _wait_for_disconnect(receive)


def truncating(send: Send, scope: Scope, receive: Receive) -> Send:
    """Wrap ``send`` so that the answer ends too early, and the connection with it."""

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


async def lose(answer: ASGIApp, scope: Scope, receive: Receive) -> None:
    """Let an answer be made, with everything that making it changes, and close the connection without it."""

    async def keep_back(message: Message) -> None:
        pass

    await answer(scope, receive, keep_back)
    await drop(scope, receive)


def _announce_more(headers: MutableHeaders) -> None:
    # A streamed answer has no announced length: it is cut where its end should be said.
    if length := headers.get("Content-Length"):
        headers["Content-Length"] = str(int(length) + MISSING_BYTES)


async def _wait_for_disconnect(receive: Receive) -> None:
    # An application that returns before uvicorn knows of the disconnect gets a 500 sent on its behalf.
    while (await receive())["type"] != "http.disconnect":
        pass
