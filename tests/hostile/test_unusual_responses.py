"""Tests that unusual but valid responses are accepted."""

from __future__ import annotations

import gzip

import pytest

from airflow_provider_leadmagic.exceptions import LeadMagicConnectionError
from tests.hostile.conftest import TIMEOUT
from tests.support.raw_server import send, trickle
from tests.support.responses import BALANCE, BALANCE_RESPONSE, CHUNKED, ENDLESS_SPACES, JSON, chunk, sized

EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(CONTINUE + BALANCE_RESPONSE, id="after 100"),
        pytest.param(PROCESSING * 3 + BALANCE_RESPONSE, id="after three 102"),
        pytest.param(EARLY_HINTS + BALANCE_RESPONSE, id="after 103"),
        pytest.param(CONTINUE + EARLY_HINTS + CONTINUE + EARLY_HINTS + BALANCE_RESPONSE, id="after all of these"),
        pytest.param(JSON + b"\r\n" + BALANCE, id="without length"),
        pytest.param(b"HTTP/1.0 200 OK\n\n" + BALANCE, id="HTTP/1.0 with bare line feeds"),
        pytest.param(JSON + CHUNKED + b"".join(chunk(b"%c" % c) for c in BALANCE) + b"0\r\n\r\n", id="tiny chunks"),
        pytest.param(
            JSON + CHUNKED + b"E;name=value\r\n" + BALANCE + b"\r\n0\r\nX-T: 1\r\n\r\n",
            id="chunk extension and trailer",
        ),
        pytest.param(JSON + CHUNKED + chunk(BALANCE) + b"0\r\n", id="no line after the last chunk"),
        pytest.param(sized(gzip.compress(BALANCE), JSON + b"Content-Encoding: gzip\r\n"), id="compressed"),
        pytest.param(sized(BALANCE, JSON + b"Content-Encoding: Identity\r\n"), id="identity encoding"),
        pytest.param(JSON + b"X: 1\r\n" * 90 + b"\r\n" + BALANCE, id="ninety headers"),
        pytest.param(JSON + b"X: %b\r\n\r\n" % (b"x" * 65_000) + BALANCE, id="a long header"),
        pytest.param(b"HTTP/1.1 200 \xff\xfe\r\nX-\xe9: \xff\r\n\r\n" + BALANCE, id="headers in an unknown encoding"),
        pytest.param(sized(BALANCE) + b"more than its length", id="longer than its Content-Length"),
    ],
)
def test_balance_is_read(serve, client_of, response):
    assert client_of(serve(send(response)).url, timeout=5).get_credits().credits == 5


def test_surplus_bytes_are_not_the_next_response(serve, client_of):
    injected, six = sized(b'{"credits": 1000000}'), sized(b'{"credits": 6}')
    client = client_of(serve(send(BALANCE_RESPONSE + injected, 0.1, six), send(six)).url, timeout=5)
    assert [client.get_credits().credits for _ in range(2)] == [5, 6]


def test_response_after_early_hints_is_not_left_for_the_next_call(serve, client_of):
    server = serve(send(EARLY_HINTS, 0.1, BALANCE_RESPONSE, 0.1, sized(b'{"credits": 6}')))
    client = client_of(server.url, timeout=5)
    assert [client.get_credits().credits for _ in range(2)] == [5, 6]


def test_response_can_use_most_of_its_timeout(serve, client_of):
    server = serve(send(JSON, TIMEOUT / 2, b"\r\n", TIMEOUT / 2, BALANCE[:5], TIMEOUT / 2, BALANCE[5:]))
    assert client_of(server.url, timeout=2 * TIMEOUT).get_credits().credits == 5


def test_each_response_on_a_connection_has_its_own_timeout(serve, client_of):
    server = serve(send(*[step for _ in range(4) for step in (TIMEOUT, BALANCE_RESPONSE)]))
    client = client_of(server.url, timeout=2 * TIMEOUT)
    assert [client.get_credits().credits for _ in range(4)] == [5] * 4
    assert len(server.requests) == 1  # the connection was reused


def test_paid_call_with_a_trickling_response_is_not_retried(serve, client_of):
    server = serve(trickle(JSON + b"\r\n", ENDLESS_SPACES))
    with pytest.raises(LeadMagicConnectionError) as caught:
        client_of(server.url, max_attempts=4).enrich("email_finder", full_name="Ada Lovelace", domain="example.com")
    assert caught.value.request_sent
    assert len(server.requests) == 1
