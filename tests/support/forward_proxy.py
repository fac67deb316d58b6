"""A forward proxy that opens tunnels, as a company runs one."""

from __future__ import annotations

import asyncio
import base64
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

UNAUTHORIZED = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"


class ForwardProxy:
    """
    Open each requested tunnel to this machine, whatever the host name.

    :param credentials: ``user:password`` that clients must send; none by default.
    :param tls: TLS context of a proxy with an https address.
    """

    def __init__(self, *, credentials: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self._expected = b"Basic " + base64.b64encode(credentials.encode()) if credentials else b""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        start = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result(10)

    @property
    def address(self) -> str:
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        tunnels = asyncio.all_tasks() - {asyncio.current_task()}
        for tunnel in tunnels:
            tunnel.cancel()
        await asyncio.gather(*tunnels, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head)
            if self._expected not in head:
                writer.write(UNAUTHORIZED)
            elif head.startswith(b"CONNECT "):
                server = await asyncio.open_connection("127.0.0.1", int(head.split()[1].rpartition(b":")[2]))
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await asyncio.gather(_copy(reader, server[1]), _copy(server[0], writer))
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
