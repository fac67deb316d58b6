"""Parts of HTTP responses as bytes, for tests to send whole or broken."""

from __future__ import annotations

import gzip
import itertools

OK = b"HTTP/1.1 200 OK\r\n"
JSON = OK + b"Content-Type: application/json\r\n"
CSV = OK + b"Content-Type: text/csv\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
BALANCE = b'{"credits": 5}'


def sized(body: bytes, head: bytes = JSON) -> bytes:
    """Put a body behind a head, with its right length."""
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunk(data: bytes) -> bytes:
    """Wrap data as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def bomb(megabytes: int, layers: int = 1) -> bytes:
    """Compress zeros: a thousandth of the size for each layer."""
    data = bytes(megabytes << 20)
    for _ in range(layers):
        data = gzip.compress(data, compresslevel=1)
    return data


WHOLE = sized(BALANCE)
FOREVER = itertools.repeat(b" ")
