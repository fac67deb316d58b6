"""Tests of downloads: the whole duration is unlimited, because results can be large; rate and size are limited."""

from __future__ import annotations

import io
import time

import pytest

from airflow_provider_leadmagic.api import transport
from airflow_provider_leadmagic.exceptions import LeadMagicConnectionError, LeadMagicError, LeadMagicResponseError
from tests.hostile.conftest import SOON, TIMEOUT
from tests.support.raw_server import SILENCE, send, send_endlessly, trickle
from tests.support.responses import CHUNKED, CSV, ENDLESS_SPACES, chunk, compression_bomb, sized

ROWS = b"row_index,status\r\n" + b"0,success\r\n" * 10
CHUNK = b"x" * transport.DOWNLOAD_CHUNK

INCOMPLETE = {
    "closed within the headers": send(CSV),
    "closed before the body": send(CSV + b"Content-Length: 31\r\n\r\n"),
    "closed before the first chunk": send(CSV + CHUNKED),
    "closed within a chunk": send(CSV + CHUNKED + chunk(ROWS)[:-5]),
    "closed within a header": send(CSV + b"Content-Len"),
    "closed within the body": send(sized(ROWS, CSV)[:-1]),
    "closed before the last chunk": send(CSV + CHUNKED + chunk(ROWS)),
    "silent after the headers": send(CSV + CHUNKED, *SILENCE),
    "silent after some rows": send(CSV + CHUNKED + chunk(ROWS), *SILENCE),
    "silent after many rows": send(CSV + CHUNKED + chunk(CHUNK) * 3, *SILENCE),
    "headers that trickle": trickle(CSV + b"X-Slow: ", ENDLESS_SPACES),
    "rows that trickle": trickle(CSV + b"\r\n", ENDLESS_SPACES),
    "rows that trickle after many": trickle(CSV + b"\r\n" + CHUNK * 3, ENDLESS_SPACES),
    "rows that trickle chunk by chunk": trickle(CSV + CHUNKED, [chunk(b" ")] * 1000),
    "trailers without end": send_endlessly(CSV + CHUNKED + chunk(ROWS) + b"0\r\n", b"X-More: 1\r\n" * 100),
    "broken compression": send(sized(b"not gzip!", CSV + b"Content-Encoding: gzip\r\n")),
    "a negative chunk size": send_endlessly(CSV + CHUNKED + b"-1\r\n", b" " * 65536),
}
INVALID = {
    "a proxy's page": send(sized(b"<html>", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n")),
    "206 Partial Content": send(sized(ROWS, b"HTTP/1.1 206 Partial Content\r\nContent-Type: text/csv\r\n")),
    "204 No Content": send(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "10,000 headers": send(CSV, b"X: 1\r\n" * 10_000, b"\r\n"),
}


def error_of(client) -> LeadMagicError:
    with pytest.raises(LeadMagicError) as caught:
        client.bulk.download("j1", io.BytesIO())
    return caught.value


@pytest.mark.parametrize("script", INCOMPLETE.values(), ids=INCOMPLETE)
def test_incomplete_download_raises_an_error_in_time(serve, client_of, script):
    started = time.monotonic()
    error = error_of(client_of(serve(script).url))
    assert time.monotonic() - started < SOON
    assert (type(error), error.transient) == (LeadMagicConnectionError, True), error


@pytest.mark.parametrize("script", INVALID.values(), ids=INVALID)
def test_response_that_is_not_a_csv_file_is_rejected(serve, client_of, script):
    error = error_of(client_of(serve(script).url))
    assert (type(error), error.transient) == (LeadMagicResponseError, True), error


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(send_endlessly(CSV + b"\r\n", b"x" * 65536), id="without end"),
        pytest.param(send(sized(compression_bomb(16), CSV + b"Content-Encoding: gzip\r\n")), id="a compression bomb"),
    ],
)
def test_too_large_download_is_a_permanent_error(serve, client_of, monkeypatch, script):
    monkeypatch.setattr(transport, "MAX_DOWNLOAD_BYTES", 5_000_000)
    file = io.BytesIO()
    with pytest.raises(LeadMagicResponseError, match=r"^Download over 5,000,000 bytes: ") as caught:
        client_of(serve(script).url).bulk.download("j1", file)
    assert not caught.value.transient
    assert len(file.getvalue()) <= 5_000_000


def test_download_at_a_sufficient_rate_can_exceed_the_timeout(serve, client_of):
    steps = [step for _ in range(10) for step in (TIMEOUT / 4, CHUNK)]
    file = io.BytesIO()
    assert client_of(serve(send(CSV + b"\r\n", *steps)).url).bulk.download("j1", file) == len(CHUNK) * 10


def test_last_chunk_can_be_short(serve, client_of):
    steps = [step for _ in range(4) for step in (CHUNK, TIMEOUT / 3)]
    server = serve(send(CSV + b"\r\n", *steps, b"end"))
    assert client_of(server.url).bulk.download("j1", io.BytesIO()) == 4 * len(CHUNK) + 3


def test_download_can_be_empty(serve, client_of):
    assert client_of(serve(send(sized(b"", CSV))).url).bulk.download("j1", io.BytesIO()) == 0


def test_error_response_must_be_complete_within_the_timeout(serve, client_of):
    not_found = b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n\r\n"
    started = time.monotonic()
    error = error_of(client_of(serve(trickle(not_found, ENDLESS_SPACES)).url))
    assert time.monotonic() - started < SOON
    assert isinstance(error, LeadMagicConnectionError)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(trickle(CSV + b"\r\n", ENDLESS_SPACES), id="trickles"),
        pytest.param(send(CSV + b"Content-Length: 99\r\n\r\n" + ROWS[:50], *SILENCE), id="incomplete body"),
    ],
)
def test_message_names_the_rate(serve, client_of, script):
    error = error_of(client_of(serve(script).url))
    assert str(error).startswith("Download slower than 64 KiB in 0.3 s: retry later or increase the client's timeout. ")
