"""One table: whatever comes back, the call ends in time, in the exception that stands for it."""

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
)
from tests.hostile.conftest import API_KEY, SLACK
from tests.support.raw_server import SILENCE, endless, saying, trickling
from tests.support.responses import BALANCE, CHUNKED, FOREVER, JSON, OK, WHOLE, bomb, chunk, sized

GZIP = JSON + b"Content-Encoding: gzip\r\n"


@dataclass(frozen=True)
class Ends:
    """How a call ends."""

    error: type[LeadMagicError]
    transient: bool


NO_ANSWER = Ends(LeadMagicConnectionError, transient=True)
PASSING_NONSENSE = Ends(LeadMagicResponseError, transient=True)
LASTING_NONSENSE = Ends(LeadMagicResponseError, transient=False)

CLOSED = {
    "before the answer": saying(),
    "within the status line": saying(b"HTTP/1.1 20"),
    "after the status line": saying(OK),
    "within a header": saying(OK + b"Content-Ty"),
    "between two headers": saying(JSON),
    "after the headers": saying(JSON + b"Content-Length: 14\r\n\r\n"),
    "within the body": saying(sized(BALANCE)[:-3]),
    "one byte before the end": saying(JSON + b"Content-Length: 15\r\n\r\n" + BALANCE),
    "before a length of 5,000 digits": saying(JSON + b"Content-Length: %b\r\n\r\n" % (b"9" * 5000) + BALANCE),
    "before the first chunk": saying(JSON + CHUNKED),
    "within a chunk": saying(JSON + CHUNKED + chunk(BALANCE)[:-5]),
    "before the last chunk": saying(JSON + CHUNKED + chunk(BALANCE)),
}
SLOW = {
    "accept and say nothing": saying(*SILENCE),
    "a status line that trickles": trickling(b"", [WHOLE]),
    "headers that trickle": trickling(OK + b"X-Slow: ", FOREVER),
    "headers that stop": saying(JSON, *SILENCE),
    "a body that stops": saying(WHOLE[:-3], *SILENCE),
    "a body that trickles": trickling(JSON + b"Content-Length: 5000\r\n\r\n", FOREVER),
    "a body without length that trickles": trickling(JSON + b"\r\n", FOREVER),
    "a chunk that trickles": trickling(JSON + CHUNKED + b"5000\r\n", FOREVER),
    "chunks that trickle": trickling(JSON + CHUNKED, [chunk(b" ")] * 1000),
    "a chunk size that trickles": trickling(JSON + CHUNKED, [b"0" * 1000]),
    "trailers that trickle": trickling(JSON + CHUNKED + b"0\r\n", [b"X-Slow: 1\r\n"] * 1000),
    "compressed nothing that trickles": trickling(GZIP + b"\r\n", [gzip.compress(b"")] * 1000),
    "100 Continue that trickles": trickling(b"", [b"HTTP/1.1 100 Continue\r\n\r\n"] * 1000),
    "100 Continue without end": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "103 Early Hints without end": endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100),
    "trailers without end": endless(JSON + CHUNKED + b"0\r\n", b"X-More: 1\r\n" * 100),
    "compressed nothing without end": endless(GZIP + b"\r\n", gzip.compress(b"") * 100),
}
NOT_HTTP = {
    "another protocol": saying(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "the start of a TLS record": saying(b"\x16\x03\x01"),
    "a status that is none": saying(b"HTTP/1.1 banana\r\n\r\n"),
    "101 and another protocol": saying(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x81\x05hello"),
    "a chunk size that is none": saying(JSON + CHUNKED + b"five\r\n" + BALANCE),
    "a chunk of less than nothing": saying(JSON + CHUNKED + b"-5\r\n" + BALANCE),
    "a chunk of all there is": endless(JSON + CHUNKED + b"-1\r\n", b" " * 65536),
    "two lengths": saying(JSON + b"Content-Length: 14, 15\r\n\r\n" + BALANCE),
    "compression that is none": saying(sized(b"not gzip", GZIP)),
}
TOO_LARGE = {
    "a body without end": endless(JSON + b"\r\n", b" " * 65536),
    "a body of announced petabytes": endless(JSON + b"Content-Length: 9999999999999999\r\n\r\n", b" " * 65536),
    "chunks without end": endless(JSON + CHUNKED, chunk(b" " * 65536)),
    "a bomb": lambda: [sized(bomb(32), GZIP)],
    "a bomb in a bomb": lambda: [sized(bomb(32, layers=2), JSON + b"Content-Encoding: gzip, gzip\r\n")],
    "compression in a thousand layers": saying(
        sized(BALANCE, JSON + b"Content-Encoding: gzip%b\r\n" % (b",gzip" * 999))
    ),
    "zstd, which was not asked for": saying(sized(BALANCE, JSON + b"Content-Encoding: zstd\r\n")),
    "10,000 headers": saying(OK, *[b"X-Header-%d: 1\r\n" % n for n in range(10_000)], b"\r\n"),
    "headers without end": endless(OK, b"X-Header: 1\r\n" * 100),
    "a giant header": saying(OK + b"X-Giant: " + b"x" * 70_000 + b"\r\n\r\n"),
    "a header without end": endless(OK + b"X-Endless: ", b"x" * 65536),
    "a status line without end": endless(b"HTTP/1.1 200 ", b"x" * 65536),
    "a chunk size without end": endless(JSON + CHUNKED, b"0" * 65536),
    "a trailer without end": endless(JSON + CHUNKED + b"0\r\nX-Endless: ", b"x" * 65536),
}
NOT_JSON = {
    "no body": saying(sized(b"")),
    "a body cut by its length": saying(JSON + b"Content-Length: 9\r\n\r\n" + BALANCE),
    "compression cut short": saying(sized(gzip.compress(BALANCE * 99)[:-20], GZIP)),
    "invalid UTF-8": saying(sized(b'{"credits": \xff}')),
    "UTF-16": saying(sized(BALANCE.decode().encode("utf-16"))),
    "a proxy's page": saying(sized(b"<html><h1>Please sign in</h1></html>", OK + b"Content-Type: text/html\r\n")),
    "arrays nested beyond depth": saying(sized(b"[" * 1_000_000)),
    "objects nested beyond depth": saying(sized(b'{"credits":' * 100_000)),
    "204 No Content": saying(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "206 Partial Content": saying(sized(BALANCE, b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-13/99\r\n")),
}
NO_BALANCE = {
    "1e400": saying(sized(b'{"credits": 1e400}')),
    "an exponent beyond all reason": saying(sized(b'{"credits": 1e99999999999999999999}')),
    "a million digits": saying(sized(b'{"credits": %b}' % (b"9" * 1_000_000))),
    "a million decimals with a huge exponent": saying(sized(b'{"credits": 0.%be999999}' % (b"9" * 1_000_000))),
    "a million digits after the point": saying(sized(b'{"credits": 0.%b}' % (b"9" * 1_000_000))),
    "NaN": saying(sized(b'{"credits": NaN}')),
    "Infinity": saying(sized(b'{"credits": Infinity}')),
    "-Infinity": saying(sized(b'{"credits": -Infinity}')),
    "two balances": saying(sized(b'{"credits": 0, "credits": 1000}')),
    "frozen and not": saying(sized(b'{"credits": 9, "is_frozen": true, "is_frozen": false}')),
    "304 Not Modified": saying(b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    "a redirect to another host": saying(b"HTTP/1.1 302 Found\r\nLocation: https://example.com/\r\n\r\n"),
    "a redirect to nonsense": saying(b"HTTP/1.1 302 Found\r\nLocation: https://[::1\r\n\r\n"),
    "a redirect with an endless page": endless(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", b" " * 65536),
}
PROXY_ERRORS = {
    "502 and a page": saying(sized(b"<html>Bad gateway</html>", b"HTTP/1.1 502 Bad Gateway\r\n")),
    "503 and invalid UTF-8": saying(sized(b"\xff\xfe\x00", b"HTTP/1.1 503 \xff\r\n")),
    "599 and a deep body": saying(sized(b"[" * 100_000, b"HTTP/1.1 599 Odd\r\n")),
}
TABLE = [
    *((f"closed {name}", script, NO_ANSWER) for name, script in CLOSED.items()),
    *((name, script, NO_ANSWER) for name, script in NOT_HTTP.items()),
    *((name, script, PASSING_NONSENSE) for name, script in (TOO_LARGE | NOT_JSON).items()),
    *((name, script, LASTING_NONSENSE) for name, script in NO_BALANCE.items()),
    *((name, script, Ends(LeadMagicServerError, transient=True)) for name, script in PROXY_ERRORS.items()),
]


def check(serve, client_of, script, ends, timeout):
    server = serve(script)
    started = time.monotonic()
    with pytest.raises(LeadMagicError) as caught:
        client_of(server.url, timeout=timeout).get_credits()
    assert time.monotonic() - started < timeout + SLACK
    assert (type(caught.value), caught.value.transient) == (ends.error, ends.transient), caught.value
    assert len(str(caught.value).splitlines()) == 1
    assert API_KEY not in repr(caught.value)
    assert len(server.requests) == 1
    return caught.value


@pytest.mark.parametrize(("script", "ends"), [pytest.param(*row, id=name) for name, *row in TABLE])
def test_an_answer_ends_in_the_exception_that_stands_for_it(serve, client_of, script, ends):
    check(serve, client_of, script, ends, timeout=5)


@pytest.mark.parametrize("script", SLOW.values(), ids=SLOW)
def test_an_answer_that_never_ends_is_left_in_time(serve, client_of, script):
    assert check(serve, client_of, script, NO_ANSWER, timeout=0.15).request_sent


@pytest.mark.parametrize(
    ("script", "message"),
    [
        pytest.param(saying(*SILENCE), r"No response within 0\.3 s", id="silence"),
        pytest.param(saying(WHOLE[:-3], *SILENCE), r"Response not complete within 0\.3 s", id="stops half way"),
        pytest.param(trickling(JSON + b"\r\n", FOREVER), r"Response not complete within 0\.3 s", id="trickles"),
        pytest.param(NOT_HTTP["another protocol"], r"Invalid HTTP response", id="another protocol"),
        pytest.param(endless(OK, b"X-Header: 1\r\n"), r"Response headers too long or too many", id="headers"),
        pytest.param(TOO_LARGE["a bomb"], r"Response over 10,485,760 bytes", id="a bomb"),
        pytest.param(TOO_LARGE["chunks without end"], r"Response over 10,485,760 bytes", id="without end"),
    ],
)
def test_what_was_wrong_is_said(serve, client_of, script, message):
    with pytest.raises(LeadMagicError, match=rf"^{message}: retry later or "):
        client_of(serve(script).url).get_credits()
