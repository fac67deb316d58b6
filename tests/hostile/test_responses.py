"""Tests that every malformed response ends in time and raises the right exception."""

from __future__ import annotations

import gzip
import time
from dataclasses import dataclass

import pytest

from airflow_provider_leadmagic.exceptions import (
    LeadMagicConnectionError,
    LeadMagicError,
    LeadMagicResponseError,
    LeadMagicServerError,
    ResponseTooLargeError,
)
from tests.hostile.conftest import API_KEY, SLACK
from tests.support.raw_server import SILENCE, send, send_endlessly, trickle
from tests.support.responses import (
    BALANCE,
    BALANCE_RESPONSE,
    CHUNKED,
    ENDLESS_SPACES,
    JSON,
    OK,
    chunk,
    compression_bomb,
    sized,
)

GZIP = JSON + b"Content-Encoding: gzip\r\n"


@dataclass(frozen=True)
class Expected:
    """Expected error of a call."""

    error: type[LeadMagicError]
    transient: bool


NO_RESPONSE = Expected(LeadMagicConnectionError, transient=True)
TRANSIENTLY_INVALID = Expected(LeadMagicResponseError, transient=True)
PERMANENTLY_INVALID = Expected(LeadMagicResponseError, transient=False)
OVER_THE_LIMIT = Expected(ResponseTooLargeError, transient=True)

CLOSED = {
    "before the response": send(),
    "within the status line": send(b"HTTP/1.1 20"),
    "after the status line": send(OK),
    "within a header": send(OK + b"Content-Ty"),
    "between two headers": send(JSON),
    "after the headers": send(JSON + b"Content-Length: 14\r\n\r\n"),
    "within the body": send(sized(BALANCE)[:-3]),
    "one byte before the end": send(JSON + b"Content-Length: 15\r\n\r\n" + BALANCE),
    "in a body of 5,000-digit length": send(JSON + b"Content-Length: %b\r\n\r\n" % (b"9" * 5000) + BALANCE),
    "before the first chunk": send(JSON + CHUNKED),
    "within a chunk": send(JSON + CHUNKED + chunk(BALANCE)[:-5]),
    "before the last chunk": send(JSON + CHUNKED + chunk(BALANCE)),
}
SLOW = {
    "no response": send(*SILENCE),
    "a status line that trickles": trickle(b"", [BALANCE_RESPONSE]),
    "headers that trickle": trickle(OK + b"X-Slow: ", ENDLESS_SPACES),
    "headers that stop": send(JSON, *SILENCE),
    "a body that stops": send(BALANCE_RESPONSE[:-3], *SILENCE),
    "a body that trickles": trickle(JSON + b"Content-Length: 5000\r\n\r\n", ENDLESS_SPACES),
    "a body without length that trickles": trickle(JSON + b"\r\n", ENDLESS_SPACES),
    "a chunk that trickles": trickle(JSON + CHUNKED + b"5000\r\n", ENDLESS_SPACES),
    "chunks that trickle": trickle(JSON + CHUNKED, [chunk(b" ")] * 1000),
    "a chunk size that trickles": trickle(JSON + CHUNKED, [b"0" * 1000]),
    "trailers that trickle": trickle(JSON + CHUNKED + b"0\r\n", [b"X-Slow: 1\r\n"] * 1000),
    "empty compressed data that trickles": trickle(GZIP + b"\r\n", [gzip.compress(b"")] * 1000),
    "100 Continue that trickles": trickle(b"", [b"HTTP/1.1 100 Continue\r\n\r\n"] * 1000),
    "100 Continue without end": send_endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "103 Early Hints without end": send_endlessly(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100),
    "trailers without end": send_endlessly(JSON + CHUNKED + b"0\r\n", b"X-More: 1\r\n" * 100),
    "empty compressed data without end": send_endlessly(GZIP + b"\r\n", gzip.compress(b"") * 100),
}
NOT_HTTP = {
    "another protocol": send(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "the start of a TLS record": send(b"\x16\x03\x01"),
    "an invalid status": send(b"HTTP/1.1 banana\r\n\r\n"),
    "101 and another protocol": send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x81\x05hello"),
    "an invalid chunk size": send(JSON + CHUNKED + b"five\r\n" + BALANCE),
    "a negative chunk size": send(JSON + CHUNKED + b"-5\r\n" + BALANCE),
    "a chunk size of -1 and endless data": send_endlessly(JSON + CHUNKED + b"-1\r\n", b" " * 65536),
    "two lengths": send(JSON + b"Content-Length: 14, 15\r\n\r\n" + BALANCE),
    "invalid compressed data": send(sized(b"not gzip", GZIP)),
}
TOO_LARGE = {
    "a body without end": send_endlessly(JSON + b"\r\n", b" " * 65536),
    "a body of announced petabytes": send_endlessly(JSON + b"Content-Length: 9999999999999999\r\n\r\n", b" " * 65536),
    "chunks without end": send_endlessly(JSON + CHUNKED, chunk(b" " * 65536)),
    "a compression bomb": lambda: [sized(compression_bomb(32), GZIP)],
    "a compression bomb in another one": lambda: [
        sized(compression_bomb(32, layers=2), JSON + b"Content-Encoding: gzip, gzip\r\n")
    ],
    "compression in a thousand layers": send(sized(BALANCE, JSON + b"Content-Encoding: gzip%b\r\n" % (b",gzip" * 999))),
    "zstd, which was not requested": send(sized(BALANCE, JSON + b"Content-Encoding: zstd\r\n")),
    "10,000 headers": send(OK, *[b"X-Header-%d: 1\r\n" % n for n in range(10_000)], b"\r\n"),
    "headers without end": send_endlessly(OK, b"X-Header: 1\r\n" * 100),
    "a giant header": send(OK + b"X-Giant: " + b"x" * 70_000 + b"\r\n\r\n"),
    "a header without end": send_endlessly(OK + b"X-Endless: ", b"x" * 65536),
    "a status line without end": send_endlessly(b"HTTP/1.1 200 ", b"x" * 65536),
    "a chunk size without end": send_endlessly(JSON + CHUNKED, b"0" * 65536),
    "a trailer without end": send_endlessly(JSON + CHUNKED + b"0\r\nX-Endless: ", b"x" * 65536),
}
LARGE_BODIES = ("a body without end", "a body of announced petabytes", "chunks without end", "a compression bomb")
NOT_JSON = {
    "no body": send(sized(b"")),
    "a body cut by its length": send(JSON + b"Content-Length: 9\r\n\r\n" + BALANCE),
    "compression cut short": send(sized(gzip.compress(BALANCE * 99)[:-20], GZIP)),
    "invalid UTF-8": send(sized(b'{"credits": \xff}')),
    "UTF-16": send(sized(BALANCE.decode().encode("utf-16"))),
    "a proxy's page": send(sized(b"<html><h1>Please sign in</h1></html>", OK + b"Content-Type: text/html\r\n")),
    "arrays nested too deeply": send(sized(b"[" * 1_000_000)),
    "objects nested too deeply": send(sized(b'{"credits":' * 100_000)),
    "204 No Content": send(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "206 Partial Content": send(sized(BALANCE, b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-13/99\r\n")),
}
INVALID_BALANCE = {
    "1e400": send(sized(b'{"credits": 1e400}')),
    "an exponent above the range of Decimals": send(sized(b'{"credits": 1e99999999999999999999}')),
    "a million digits": send(sized(b'{"credits": %b}' % (b"9" * 1_000_000))),
    "a million decimals with a huge exponent": send(sized(b'{"credits": 0.%be999999}' % (b"9" * 1_000_000))),
    "a million digits after the point": send(sized(b'{"credits": 0.%b}' % (b"9" * 1_000_000))),
    "NaN": send(sized(b'{"credits": NaN}')),
    "Infinity": send(sized(b'{"credits": Infinity}')),
    "-Infinity": send(sized(b'{"credits": -Infinity}')),
    "two balances": send(sized(b'{"credits": 0, "credits": 1000}')),
    "two freeze flags": send(sized(b'{"credits": 9, "is_frozen": true, "is_frozen": false}')),
    "304 Not Modified": send(b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    "a redirect to another host": send(b"HTTP/1.1 302 Found\r\nLocation: https://example.com/\r\n\r\n"),
    "a redirect to an invalid URL": send(b"HTTP/1.1 302 Found\r\nLocation: https://[::1\r\n\r\n"),
    "a redirect with an endless page": send_endlessly(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", b" " * 65536),
}
PROXY_ERRORS = {
    "502 and a page": send(sized(b"<html>Bad gateway</html>", b"HTTP/1.1 502 Bad Gateway\r\n")),
    "503 and invalid UTF-8": send(sized(b"\xff\xfe\x00", b"HTTP/1.1 503 \xff\r\n")),
    "599 and a deeply nested body": send(sized(b"[" * 100_000, b"HTTP/1.1 599 Unknown\r\n")),
}
TABLE = [
    *((f"closed {name}", script, NO_RESPONSE) for name, script in CLOSED.items()),
    *((name, script, NO_RESPONSE) for name, script in NOT_HTTP.items()),
    *((name, TOO_LARGE[name], OVER_THE_LIMIT) for name in LARGE_BODIES),
    *((name, script, TRANSIENTLY_INVALID) for name, script in TOO_LARGE.items() if name not in LARGE_BODIES),
    *((name, script, TRANSIENTLY_INVALID) for name, script in NOT_JSON.items()),
    *((name, script, PERMANENTLY_INVALID) for name, script in INVALID_BALANCE.items()),
    *((name, script, Expected(LeadMagicServerError, transient=True)) for name, script in PROXY_ERRORS.items()),
]


def assert_error(serve, client_of, script, expected, timeout):
    server = serve(script)
    started = time.monotonic()
    with pytest.raises(LeadMagicError) as caught:
        client_of(server.url, timeout=timeout).get_credits()
    assert time.monotonic() - started < timeout + SLACK
    assert (type(caught.value), caught.value.transient) == (expected.error, expected.transient), caught.value
    assert len(str(caught.value).splitlines()) == 1
    assert API_KEY not in repr(caught.value)
    assert len(server.requests) == 1
    return caught.value


@pytest.mark.parametrize(("script", "expected"), [pytest.param(*row, id=name) for name, *row in TABLE])
def test_malformed_response_raises_the_expected_error(serve, client_of, script, expected):
    assert_error(serve, client_of, script, expected, timeout=5)


@pytest.mark.parametrize("script", SLOW.values(), ids=SLOW)
def test_endless_response_is_abandoned_in_time(serve, client_of, script):
    assert assert_error(serve, client_of, script, NO_RESPONSE, timeout=0.15).request_sent


TIMEOUT_MESSAGES = [
    pytest.param(send(*SILENCE), "No response", id="silence"),
    pytest.param(send(BALANCE_RESPONSE[:-3], *SILENCE), "Response not complete", id="incomplete body"),
    pytest.param(trickle(JSON + b"\r\n", ENDLESS_SPACES), "Response not complete", id="trickles"),
]
LIMIT_MESSAGES = [
    pytest.param(NOT_HTTP["another protocol"], "Invalid HTTP response", id="another protocol"),
    pytest.param(send_endlessly(OK, b"X-Header: 1\r\n"), "Response headers too long or too many", id="headers"),
    pytest.param(TOO_LARGE["a compression bomb"], "Response over 10,485,760 bytes", id="a compression bomb"),
    pytest.param(TOO_LARGE["chunks without end"], "Response over 10,485,760 bytes", id="without end"),
]


@pytest.mark.parametrize(("script", "cause"), TIMEOUT_MESSAGES)
def test_message_of_a_timeout_names_what_is_missing(serve, client_of, script, cause):
    with pytest.raises(LeadMagicError, match=rf"^{cause} within 0\.3 s: retry later or "):
        client_of(serve(script).url).get_credits()


@pytest.mark.parametrize(("script", "cause"), LIMIT_MESSAGES)
def test_message_names_the_cause(serve, client_of, script, cause):
    with pytest.raises(LeadMagicError, match=rf"^{cause}: retry later or "):
        client_of(serve(script).url, timeout=5).get_credits()
