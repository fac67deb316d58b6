"""Tests of Retry-After headers, valid and invalid."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from airflow_provider_leadmagic.decisions.gate import MAX_REQUESTED_WAIT, requested_wait
from airflow_provider_leadmagic.exceptions import LeadMagicRateLimitError, LeadMagicServerError
from tests.support.raw_server import send
from tests.support.responses import sized

YEAR = 31_536_000
STATUSES = [
    pytest.param(b"429 Too Many Requests", LeadMagicRateLimitError, id="429"),
    pytest.param(b"503 Service Unavailable", LeadMagicServerError, id="503"),
]


@pytest.mark.parametrize(("status", "error"), STATUSES)
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param(b"-1", 0, id="negative"),
        pytest.param(b"-1e400", None, id="minus infinity"),
        pytest.param(b"1e400", None, id="infinity"),
        pytest.param(b"9" * 5000, None, id="5,000 digits"),
        pytest.param(b"31536000", YEAR, id="a year"),
        pytest.param(formatdate(time.time() + YEAR, usegmt=True).encode(), YEAR, id="a date a year from now"),
        pytest.param(b"Wed, 21 Oct 2015 07:28:00 GMT", 0, id="a date in the past"),
        pytest.param(b"Wed, 99 Oct 2015 99:99:99 +9999", None, id="an invalid date"),
        pytest.param(b"soon", None, id="a word"),
        pytest.param(b"\xff\xfe", None, id="not text"),
        pytest.param(b"1, 2", None, id="two numbers"),
        pytest.param(b" , " * 20_000, None, id="twenty thousand commas"),
        pytest.param(b"", None, id="empty"),
    ],
)
def test_retry_after_is_seconds_or_none(serve, client_of, status, error, header, seconds):
    server = serve(send(sized(b"{}", b"HTTP/1.1 %b\r\nRetry-After: %b\r\n" % (status, header))))
    with pytest.raises(error) as caught:
        client_of(server.url).get_credits()
    # The tolerance covers the time since the date was computed, at collection.
    assert caught.value.retry_after == (pytest.approx(seconds, abs=3600) if seconds else seconds)
    assert 0 <= requested_wait(caught.value) <= MAX_REQUESTED_WAIT
