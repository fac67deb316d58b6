"""Complete and partial HTTP responses as bytes."""

from __future__ import annotations

import gzip
import itertools

OK = b"HTTP/1.1 200 OK\r\n"
JSON = OK + b"Content-Type: application/json\r\n"
CSV = OK + b"Content-Type: text/csv\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
BALANCE = b'{"credits": 5}'


def sized(body: bytes, head: bytes = JSON) -> bytes:
    """Return a response with a body and its Content-Length."""
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunk(data: bytes) -> bytes:
    """Encode data as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def compression_bomb(megabytes: int, layers: int = 1) -> bytes:
    """Return compressed zeros; each layer reduces the size by a factor of about 1000."""
    data = bytes(megabytes << 20)
    for _ in range(layers):
        data = gzip.compress(data, compresslevel=1)
    return data


BALANCE_RESPONSE = sized(BALANCE)
ENDLESS_SPACES = itertools.repeat(b" ")
