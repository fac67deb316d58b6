"""What looks odd and is good is still understood: being careful must not cost an answer."""

from __future__ import annotations

import gzip

import pytest

from airflow_provider_leadmagic.exceptions import LeadMagicConnectionError
from tests.hostile.conftest import TIMEOUT
from tests.support.raw_server import saying, trickling
from tests.support.responses import BALANCE, CHUNKED, FOREVER, JSON, WHOLE, chunk, sized

EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(CONTINUE + WHOLE, id="after 100"),
        pytest.param(PROCESSING * 3 + WHOLE, id="after three 102"),
        pytest.param(EARLY_HINTS + WHOLE, id="after 103"),
        pytest.param(CONTINUE + EARLY_HINTS + CONTINUE + EARLY_HINTS + WHOLE, id="after all of these"),
        pytest.param(JSON + b"\r\n" + BALANCE, id="without length"),
        pytest.param(b"HTTP/1.0 200 OK\n\n" + BALANCE, id="HTTP/1.0 with bare line feeds"),
        pytest.param(JSON + CHUNKED + b"".join(chunk(b"%c" % c) for c in BALANCE) + b"0\r\n\r\n", id="tiny chunks"),
        pytest.param(JSON + CHUNKED + b"E;name=value\r\n" + BALANCE + b"\r\n0\r\nX-T: 1\r\n\r\n", id="extras"),
        pytest.param(JSON + CHUNKED + chunk(BALANCE) + b"0\r\n", id="no line after the last chunk"),
        pytest.param(sized(gzip.compress(BALANCE), JSON + b"Content-Encoding: gzip\r\n"), id="compressed"),
        pytest.param(sized(BALANCE, JSON + b"Content-Encoding: Identity\r\n"), id="not compressed, and says so"),
        pytest.param(JSON + b"X: 1\r\n" * 90 + b"\r\n" + BALANCE, id="ninety headers"),
        pytest.param(JSON + b"X: %b\r\n\r\n" % (b"x" * 65_000) + BALANCE, id="a long header"),
        pytest.param(b"HTTP/1.1 200 \xff\xfe\r\nX-\xe9: \xff\r\n\r\n" + BALANCE, id="headers in no known code"),
        pytest.param(sized(BALANCE) + b"more than was announced", id="more than was announced"),
    ],
)
def test_the_balance_is_read(serve, client_of, answer):
    assert client_of(serve(saying(answer)).url, timeout=5).get_credits().credits == 5


def test_bytes_beyond_an_answer_are_not_the_next_one(serve, client_of):
    lie, six = sized(b'{"credits": 1000000}'), sized(b'{"credits": 6}')
    client = client_of(serve(saying(WHOLE + lie, 0.1, six), saying(six)).url, timeout=5)
    assert [client.get_credits().credits for _ in range(2)] == [5, 6]


def test_the_answer_after_a_hint_is_not_left_for_the_next_call(serve, client_of):
    server = serve(saying(EARLY_HINTS, 0.1, WHOLE, 0.1, sized(b'{"credits": 6}')))
    client = client_of(server.url, timeout=5)
    assert [client.get_credits().credits for _ in range(2)] == [5, 6]


def test_an_answer_may_take_most_of_its_time(serve, client_of):
    server = serve(saying(JSON, TIMEOUT / 2, b"\r\n", TIMEOUT / 2, BALANCE[:5], TIMEOUT / 2, BALANCE[5:]))
    assert client_of(server.url, timeout=2 * TIMEOUT).get_credits().credits == 5


def test_each_answer_of_a_connection_has_its_own_time(serve, client_of):
    server = serve(saying(*[step for _ in range(4) for step in (TIMEOUT, WHOLE)]))
    client = client_of(server.url, timeout=2 * TIMEOUT)
    assert [client.get_credits().credits for _ in range(4)] == [5] * 4
    assert len(server.requests) == 1  # the connection was kept


def test_a_paid_call_that_trickles_is_not_made_again(serve, client_of):
    server = serve(trickling(JSON + b"\r\n", FOREVER))
    with pytest.raises(LeadMagicConnectionError) as caught:
        client_of(server.url, max_attempts=4).enrich("email_finder", full_name="Ada Lovelace", domain="example.com")
    assert caught.value.request_sent
    assert len(server.requests) == 1
