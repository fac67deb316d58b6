"""A download has no bound as a whole, as results may be large: what is bounded is its pace, and what the disk takes."""

from __future__ import annotations

import io
import time

import pytest

from airflow_provider_leadmagic.api import transport
from airflow_provider_leadmagic.exceptions import LeadMagicConnectionError, LeadMagicError, LeadMagicResponseError
from tests.hostile.conftest import SOON, TIMEOUT
from tests.support.raw_server import SILENCE, endless, saying, trickling
from tests.support.responses import CHUNKED, CSV, FOREVER, bomb, chunk, sized

ROWS = b"row_index,status\r\n" + b"0,success\r\n" * 10
PIECE = b"x" * transport.DOWNLOAD_PIECE

NOT_THE_WHOLE = {
    "closed within the headers": saying(CSV),
    "closed before the body": saying(CSV + b"Content-Length: 31\r\n\r\n"),
    "closed before the first chunk": saying(CSV + CHUNKED),
    "closed within a chunk": saying(CSV + CHUNKED + chunk(ROWS)[:-5]),
    "closed within a header": saying(CSV + b"Content-Len"),
    "closed within the body": saying(sized(ROWS, CSV)[:-1]),
    "closed before the last chunk": saying(CSV + CHUNKED + chunk(ROWS)),
    "silent after the headers": saying(CSV + CHUNKED, *SILENCE),
    "silent after some rows": saying(CSV + CHUNKED + chunk(ROWS), *SILENCE),
    "silent after many rows": saying(CSV + CHUNKED + chunk(PIECE) * 3, *SILENCE),
    "headers that trickle": trickling(CSV + b"X-Slow: ", FOREVER),
    "rows that trickle": trickling(CSV + b"\r\n", FOREVER),
    "rows that trickle after many": trickling(CSV + b"\r\n" + PIECE * 3, FOREVER),
    "rows that trickle chunk by chunk": trickling(CSV + CHUNKED, [chunk(b" ")] * 1000),
    "trailers without end": endless(CSV + CHUNKED + chunk(ROWS) + b"0\r\n", b"X-More: 1\r\n" * 100),
    "broken compression": saying(sized(b"not gzip!", CSV + b"Content-Encoding: gzip\r\n")),
    "a chunk of less than nothing": endless(CSV + CHUNKED + b"-1\r\n", b" " * 65536),
}
NO_RESULTS = {
    "a proxy's page": saying(sized(b"<html>", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n")),
    "206 Partial Content": saying(sized(ROWS, b"HTTP/1.1 206 Partial Content\r\nContent-Type: text/csv\r\n")),
    "204 No Content": saying(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "10,000 headers": saying(CSV, b"X: 1\r\n" * 10_000, b"\r\n"),
}


def outcome_of(client) -> LeadMagicError:
    with pytest.raises(LeadMagicError) as caught:
        client.bulk.download("j1", io.BytesIO())
    return caught.value


@pytest.mark.parametrize("script", NOT_THE_WHOLE.values(), ids=NOT_THE_WHOLE)
def test_a_part_is_never_taken_for_the_whole_nor_waited_for_without_end(serve, client_of, script):
    started = time.monotonic()
    error = outcome_of(client_of(serve(script).url))
    assert time.monotonic() - started < SOON
    assert (type(error), error.transient) == (LeadMagicConnectionError, True), error


@pytest.mark.parametrize("script", NO_RESULTS.values(), ids=NO_RESULTS)
def test_what_is_no_csv_is_no_download(serve, client_of, script):
    error = outcome_of(client_of(serve(script).url))
    assert (type(error), error.transient) == (LeadMagicResponseError, True), error


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(endless(CSV + b"\r\n", b"x" * 65536), id="without end"),
        pytest.param(saying(sized(bomb(16), CSV + b"Content-Encoding: gzip\r\n")), id="a bomb"),
    ],
)
def test_one_that_would_fill_the_disk_is_left_for_good(serve, client_of, monkeypatch, script):
    monkeypatch.setattr(transport, "MAX_DOWNLOAD_BYTES", 5_000_000)
    file = io.BytesIO()
    with pytest.raises(LeadMagicResponseError, match=r"^Download over 5,000,000 bytes: ") as caught:
        client_of(serve(script).url).bulk.download("j1", file)
    assert not caught.value.transient
    assert len(file.getvalue()) <= 5_000_000


def test_one_that_keeps_its_pace_may_take_many_timeouts(serve, client_of):
    pieces = [step for _ in range(10) for step in (TIMEOUT / 4, PIECE)]
    file = io.BytesIO()
    assert client_of(serve(saying(CSV + b"\r\n", *pieces)).url).bulk.download("j1", file) == len(PIECE) * 10


def test_its_end_may_be_short(serve, client_of):
    pieces = [step for _ in range(4) for step in (PIECE, TIMEOUT / 3)]
    server = serve(saying(CSV + b"\r\n", *pieces, b"end"))
    assert client_of(server.url).bulk.download("j1", io.BytesIO()) == 4 * len(PIECE) + 3


def test_it_may_be_empty(serve, client_of):
    assert client_of(serve(saying(sized(b"", CSV))).url).bulk.download("j1", io.BytesIO()) == 0


def test_its_error_is_no_download_and_has_to_come_in_time(serve, client_of):
    refusal = b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n\r\n"
    started = time.monotonic()
    error = outcome_of(client_of(serve(trickling(refusal, FOREVER)).url))
    assert time.monotonic() - started < SOON
    assert isinstance(error, LeadMagicConnectionError)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(trickling(CSV + b"\r\n", FOREVER), id="trickles"),
        pytest.param(saying(CSV + b"Content-Length: 99\r\n\r\n" + ROWS[:50], *SILENCE), id="stops half way"),
    ],
)
def test_what_was_too_slow_is_said(serve, client_of, script):
    error = outcome_of(client_of(serve(script).url))
    assert str(error).startswith(
        "Download slower than 65,536 bytes in 0.3 s: retry later or raise the client's timeout. "
    )
