"""Before a request can be sent: handshakes, certificates and proxies."""

from __future__ import annotations

import itertools
import re
import time

import pytest
import urllib3

from airflow_provider_leadmagic.exceptions import LeadMagicConnectionError
from tests.hostile.certificates import self_signed, speaking_tls
from tests.hostile.conftest import API_KEY, SOON
from tests.support.raw_server import SILENCE, endless, saying, trickling
from tests.support.responses import FOREVER, JSON, WHOLE

#: A record of TLS that announces 16 kB.
RECORD = b"\x16\x03\x03\x40\x00"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n"
BY_OPENSSL = pytest.mark.skipif(
    urllib3.__version__.startswith("1."), reason="urllib3 1 compares names itself, in an exception of its own"
)


def outcome_of(client) -> LeadMagicConnectionError:
    started = time.monotonic()
    with pytest.raises(LeadMagicConnectionError) as caught:
        client.enrich("email_finder", full_name="Ada Lovelace", domain="example.com")
    assert time.monotonic() - started < SOON
    assert API_KEY not in repr(caught.value)
    return caught.value


@pytest.fixture
def trusting(client_of):
    """Give a function that builds clients which believe one certificate, besides those of the world."""

    def build(url, certificate):
        client = client_of(url)
        client._transport._session.verify = str(certificate)  # on loopback no environment variable is heard
        return client

    return build


class TestHandshake:
    @pytest.mark.parametrize(
        "script",
        [
            pytest.param(saying(*SILENCE), id="never begins"),
            pytest.param(saying(RECORD, *SILENCE), id="stops"),
            pytest.param(trickling(RECORD, itertools.repeat(b"\x02")), id="trickles"),
        ],
    )
    def test_one_that_never_ends_is_left_and_nothing_was_sent(self, serve, client_of, script):
        error = outcome_of(client_of(f"https://{serve(script).address}"))
        assert str(error).startswith("No connection within 0.3 s: check the client's base_url. ")
        assert not error.request_sent

    @pytest.mark.parametrize(
        "script", [saying(), saying(WHOLE), endless(b"", b"\x00" * 65536)], ids=["closed", "plain HTTP", "noise"]
    )
    def test_one_that_is_none_is_no_answer(self, serve, client_of, script):
        server = serve(script)
        outcome_of(client_of(f"https://{server.address}"))
        assert len(server.requests) == 1


class TestCertificate:
    @pytest.mark.parametrize(
        ("options", "told", "reason"),
        [
            pytest.param({}, False, "self.signed certificate", id="signed by itself"),
            pytest.param(
                {"names": ("example.com",)}, True, "IP address mismatch", id="for another host", marks=BY_OPENSSL
            ),
            pytest.param({"days": 0}, True, "certificate has expired", id="expired"),
        ],
    )
    def test_one_that_cannot_be_trusted_gets_no_key(self, serve, client_of, trusting, tmp_path, options, told, reason):
        certificate = self_signed(tmp_path, **options)
        server = serve(saying(WHOLE), tls=speaking_tls(certificate))
        url = f"https://{server.address}"
        error = outcome_of(trusting(url, certificate) if told else client_of(url))
        assert re.match(rf"TLS certificate not trusted: .* Reason: {reason}", str(error))
        assert error.transient
        assert not error.request_sent
        assert server.requests == []

    def test_one_that_is_trusted_gets_it(self, serve, trusting, tmp_path):
        certificate = self_signed(tmp_path)
        server = serve(saying(WHOLE), tls=speaking_tls(certificate))
        assert trusting(f"https://{server.address}", certificate).get_credits().credits == 5
        assert API_KEY.encode() in server.requests[0]

    @pytest.mark.parametrize(
        "script",
        [
            pytest.param(trickling(JSON + b"X-Slow: ", FOREVER), id="headers"),
            pytest.param(trickling(JSON + b"\r\n", FOREVER), id="body"),
        ],
    )
    def test_a_trickle_is_left_under_encryption_too(self, serve, trusting, tmp_path, script):
        certificate = self_signed(tmp_path)
        server = serve(script, tls=speaking_tls(certificate))
        assert outcome_of(trusting(f"https://{server.address}", certificate)).request_sent


class TestProxy:
    @pytest.fixture
    def client_behind(self, serve, client_of, monkeypatch):
        """Give a function that builds a client behind a proxy which plays a script."""

        def build(script, **options):
            monkeypatch.setenv("HTTPS_PROXY", serve(script).url)
            return client_of("https://leadmagic.example", **options)

        return build

    @pytest.mark.parametrize(
        "script",
        [
            pytest.param(saying(), id="closes"),
            pytest.param(saying(ESTABLISHED), id="closes within its headers"),
            pytest.param(saying(*SILENCE), id="says nothing"),
            pytest.param(trickling(ESTABLISHED + b"X-Slow: ", FOREVER), id="trickles"),
            pytest.param(endless(ESTABLISHED, b"X-More: 1\r\n" * 100), id="sends headers without end"),
            pytest.param(saying(ESTABLISHED + b"\r\n", *SILENCE), id="connects to silence"),
            pytest.param(saying(b"HTTP/1.1 407 Who are you?\r\n\r\n<html>"), id="wants a password"),
        ],
    )
    def test_one_that_does_not_connect_is_left(self, client_behind, script):
        outcome_of(client_behind(script))

    @pytest.mark.parametrize(
        "script",
        [
            pytest.param(saying(), id="closes"),
            pytest.param(saying(ESTABLISHED), id="closes within its headers"),
            pytest.param(saying(b"nonsense\r\n\r\n"), id="speaks no HTTP"),
            pytest.param(saying(ESTABLISHED + b"X-Long: " + b"x" * 100_000), id="sends a header without end"),
        ],
    )
    def test_where_one_breaks_off_nothing_was_sent(self, client_behind, script):
        error = outcome_of(client_behind(script))
        assert str(error).startswith("Proxy did not open a connection: check the proxy settings and ")
        assert not error.request_sent

    def test_the_handshake_behind_one_has_a_time_of_its_own(self, client_behind):
        started = time.monotonic()
        outcome_of(client_behind(saying(0.2, ESTABLISHED, 0.2, b"\r\n", *SILENCE), timeout=0.6))
        assert time.monotonic() - started > 0.9

    def test_one_that_refuses_is_named_and_nothing_was_sent(self, client_behind):
        error = outcome_of(client_behind(saying(b"HTTP/1.1 403 Not from here\r\n\r\n")))
        assert str(error).startswith("Proxy did not open a connection: check the proxy settings and ")
        assert not error.request_sent
