"""Tests of failures before a request is sent: TLS handshakes, certificates and proxies."""

from __future__ import annotations

import itertools
import os
import re
import time
from typing import Any

import pytest
import urllib3

from airflow_provider_leadmagic.exceptions import (
    LeadMagicConfigurationError,
    LeadMagicConnectionError,
    LeadMagicError,
)
from tests.hostile.certificates import self_signed, speaking_tls
from tests.hostile.conftest import API_KEY, SOON
from tests.support.raw_server import SILENCE, send, send_endlessly, trickle
from tests.support.responses import BALANCE_RESPONSE, ENDLESS_SPACES, JSON

#: Header of a TLS record of 16 kB.
RECORD = b"\x16\x03\x03\x40\x00"
#: What a client reports if the server closes the connection within the handshake: after it has read all data, or not.
CLOSED = ("TLS connection failed: retry later or ", "Connection closed by the server: retry later or ")
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n"
PROXY_IN_ERRORS = pytest.mark.skipif(
    urllib3.__version__.startswith("1."), reason="urllib3 1 does not say whether an error is the proxy's"
)


def error_of(client, error_class: type[LeadMagicError] = LeadMagicConnectionError) -> Any:
    started = time.monotonic()
    with pytest.raises(error_class) as caught:
        client.enrich("email_finder", full_name="Ada Lovelace", domain="example.com")
    assert type(caught.value) is error_class
    assert time.monotonic() - started < SOON
    assert API_KEY not in repr(caught.value)
    return caught.value


@pytest.fixture
def client_that_trusts(client_of):
    """Return a function that creates clients which trust one more certificate."""

    return lambda url, certificate: client_of(url, verify=certificate)


class TestHandshake:
    @pytest.mark.parametrize(
        "script",
        [
            pytest.param(send(*SILENCE), id="never begins"),
            pytest.param(send(RECORD, *SILENCE), id="stops"),
            pytest.param(trickle(RECORD, itertools.repeat(b"\x02")), id="trickles"),
        ],
    )
    def test_endless_handshake_is_abandoned_and_nothing_is_sent(self, serve, client_of, script):
        error = error_of(client_of(f"https://{serve(script).address}"))
        assert str(error).startswith("No connection within 0.3 s: check the client's base_url. ")
        assert not error.request_sent

    @pytest.mark.parametrize(
        "script",
        [send(), send(BALANCE_RESPONSE), send_endlessly(b"", b"\x00" * 65536)],
        ids=["closed", "plain HTTP", "noise"],
    )
    def test_invalid_handshake_is_a_connection_error(self, serve, client_of, script):
        server = serve(script)
        error = error_of(client_of(f"https://{server.address}"))
        assert str(error).startswith(CLOSED)
        assert not error.request_sent
        assert len(server.connected_at) == 1

    def test_paid_call_is_repeated_after_an_invalid_handshake(self, serve, client_of, sleeps):
        server = serve(send(BALANCE_RESPONSE))
        error_of(client_of(f"https://{server.address}", max_attempts=3))
        assert (len(server.connected_at), len(sleeps)) == (3, 2)

    def test_connection_closed_after_the_handshake_may_have_carried_the_request(
        self, serve, client_that_trusts, tmp_path, sleeps
    ):
        certificate = self_signed(tmp_path)
        server = serve(send(), tls=speaking_tls(certificate))
        assert error_of(client_that_trusts(f"https://{server.address}", certificate)).request_sent
        assert len(server.requests) == 1


class TestCertificate:
    @pytest.mark.parametrize(
        ("options", "is_trusted", "reason"),
        [
            pytest.param({}, False, "self.signed certificate", id="self-signed"),
            pytest.param(
                {"names": ("example.com",)},
                True,
                "(IP address mismatch|.* doesn't match 'example.com')",
                id="other host",
            ),
            pytest.param({"days": 0}, True, "certificate has expired", id="expired"),
        ],
    )
    def test_untrusted_certificate_is_a_configuration_error_and_receives_no_request(
        self, serve, client_of, client_that_trusts, tmp_path, sleeps, options, is_trusted, reason
    ):
        certificate = self_signed(tmp_path, **options)
        server = serve(send(BALANCE_RESPONSE), tls=speaking_tls(certificate))
        url = f"https://{server.address}"
        client = client_that_trusts(url, certificate) if is_trusted else client_of(url, max_attempts=3)
        error = error_of(client, LeadMagicConfigurationError)
        summary = "TLS certificate not trusted: check the client's base_url and the CA certificates"
        assert re.match(rf"{summary}\. Reason: {reason}", str(error))
        assert str(error).endswith(f"[POST {url}/v1/people/email-finder]")
        assert not error.transient
        # urllib3 before 2 compares the host name after the handshake, so the server reads an empty request.
        assert (len(server.connected_at), b"".join(server.requests), sleeps) == (1, b"", [])

    def test_trusted_certificate_receives_the_key(self, serve, client_that_trusts, tmp_path):
        certificate = self_signed(tmp_path)
        server = serve(send(BALANCE_RESPONSE), tls=speaking_tls(certificate))
        assert client_that_trusts(f"https://{server.address}", certificate).get_credits().credits == 5
        assert API_KEY.encode() in server.requests[0]

    @pytest.mark.parametrize(
        "script",
        [
            pytest.param(trickle(JSON + b"X-Slow: ", ENDLESS_SPACES), id="headers"),
            pytest.param(trickle(JSON + b"\r\n", ENDLESS_SPACES), id="body"),
        ],
    )
    def test_trickling_response_over_tls_is_abandoned(self, serve, client_that_trusts, tmp_path, script):
        certificate = self_signed(tmp_path)
        server = serve(script, tls=speaking_tls(certificate))
        assert error_of(client_that_trusts(f"https://{server.address}", certificate)).request_sent

    def test_request_over_tls_that_is_not_read_to_its_end_may_have_been_sent(self, serve, client_that_trusts, tmp_path):
        certificate = self_signed(tmp_path)
        server = serve(send(*SILENCE), tls=speaking_tls(certificate), read_request=False)
        client = client_that_trusts(f"https://{server.address}", certificate)
        with pytest.raises(LeadMagicConnectionError, match=r"^Request not accepted in time: retry ") as caught:
            client.enrich("email_finder", full_name="x" * 30_000_000)
        assert caught.value.request_sent


class TestCACertificates:
    """Uses a host name that is not loopback, because the client ignores the CA variables on loopback."""

    @pytest.fixture
    def server(self, serve, tmp_path, monkeypatch, resolve_container):
        """Return a server whose certificate is valid for leadmagic.example."""
        for name in ("HTTPS_PROXY", "https_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(name, raising=False)
        resolve_container("leadmagic.example")
        certificate = self_signed(tmp_path, names=("leadmagic.example",))
        return serve(send(BALANCE_RESPONSE), tls=speaking_tls(certificate))

    @staticmethod
    def url_of(server) -> str:
        return f"https://leadmagic.example:{server.address.partition(':')[2]}"

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            pytest.param(None, "No such file or directory", id="missing"),
            pytest.param("", "Not a file of PEM certificates", id="empty"),
            pytest.param("my certificate\n", "Not a file of PEM certificates", id="text"),
            pytest.param(
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "Not a file of PEM certificates",
                id="damaged",
            ),
        ],
    )
    @pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
    def test_file_that_cannot_be_loaded_is_a_configuration_error_at_once(
        self, server, client_of, tmp_path, monkeypatch, sleeps, variable, content, problem
    ):
        file = tmp_path / "company.pem"
        if content is not None:
            file.write_text(content)
        monkeypatch.setenv(variable, str(file))
        error = error_of(client_of(self.url_of(server), max_attempts=3), LeadMagicConfigurationError)
        assert str(error).startswith(f"CA certificates cannot be loaded: correct {variable}. {problem}: {file}. [POST ")
        assert (error.transient, server.requests, sleeps) == (False, [], [])

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
    def test_unreadable_file_is_a_configuration_error(self, server, client_of, tmp_path, monkeypatch):
        file = tmp_path / "company.pem"
        file.touch(mode=0)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
        error = error_of(client_of(self.url_of(server)), LeadMagicConfigurationError)
        assert f"correct REQUESTS_CA_BUNDLE. Permission denied: {file}. [" in str(error)

    def test_missing_file_of_certifi_is_a_configuration_error(self, server, client_of, tmp_path):
        client = client_of(self.url_of(server))
        client._transport._session.verify = str(tmp_path / "cacert.pem")
        error = error_of(client, LeadMagicConfigurationError)
        assert str(error).startswith("CA certificates cannot be loaded: reinstall the Python package certifi. No such ")

    @pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
    def test_certificate_in_the_file_is_trusted(self, server, client_of, tmp_path, monkeypatch, variable):
        monkeypatch.setenv(variable, str(tmp_path / "certificate.pem"))
        assert client_of(self.url_of(server)).get_credits().credits == 5


class TestProxy:
    @pytest.fixture
    def client_behind(self, serve, client_of, monkeypatch):
        """Return a function that creates a client behind a proxy that runs a script."""

        def build(script, **options):
            monkeypatch.setenv("HTTPS_PROXY", serve(script).url)
            return client_of("https://leadmagic.example", **options)

        return build

    @pytest.mark.parametrize(
        "script",
        [
            pytest.param(send(), id="closes"),
            pytest.param(send(ESTABLISHED), id="closes within its headers"),
            pytest.param(send(*SILENCE), id="sends nothing"),
            pytest.param(trickle(ESTABLISHED + b"X-Slow: ", ENDLESS_SPACES), id="trickles"),
            pytest.param(send_endlessly(ESTABLISHED, b"X-More: 1\r\n" * 100), id="sends headers without end"),
            pytest.param(send(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n<html>"), id="requires a password"),
            pytest.param(send(b"HTTP/1.1 403 Forbidden\r\n\r\n"), id="rejects the host"),
            pytest.param(send(b"invalid\r\n\r\n"), id="does not use HTTP"),
            pytest.param(send(ESTABLISHED + b"X-Long: " + b"x" * 100_000), id="sends a header without end"),
        ],
    )
    def test_proxy_that_opens_no_connection_is_abandoned_and_nothing_is_sent(self, client_behind, script):
        error = error_of(client_behind(script))
        assert str(error).startswith("Proxy did not open a connection: check the proxy settings and ")
        assert not error.request_sent

    @pytest.mark.parametrize(
        ("script", "cause"),
        [
            pytest.param(send(ESTABLISHED + b"\r\n", *SILENCE), "No connection within 0.3 s: check ", id="silence"),
            pytest.param(send(ESTABLISHED + b"\r\n"), CLOSED, id="closed"),
            pytest.param(send(ESTABLISHED + b"\r\n" + BALANCE_RESPONSE), "TLS connection failed: ", id="plain HTTP"),
        ],
    )
    def test_tunnel_without_a_handshake_is_abandoned_and_nothing_is_sent(self, client_behind, script, cause):
        error = error_of(client_behind(script))
        assert str(error).startswith(cause)
        assert not error.request_sent

    def test_proxy_that_resets_the_connection_did_not_open_one(self, serve, client_of, monkeypatch):
        # A server that closes a connection with unread data resets it.
        monkeypatch.setenv("HTTPS_PROXY", serve(send(0.1), read_request=False).url)
        error = error_of(client_of("https://leadmagic.example"))
        assert str(error).startswith("Proxy did not open a connection: ")
        assert not error.request_sent

    @PROXY_IN_ERRORS
    def test_proxy_that_accepts_no_connection_is_named(self, client_of, monkeypatch, full_queue):
        monkeypatch.setenv("HTTPS_PROXY", full_queue)
        error = error_of(client_of("https://leadmagic.example"))
        assert str(error).startswith("No connection within 0.3 s: check the proxy settings. ")
        assert not error.request_sent

    @pytest.mark.parametrize("proxy", ["http://", "ftp://proxy.example"])
    def test_invalid_proxy_is_a_configuration_error(self, client_of, monkeypatch, proxy):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        error = error_of(client_of("https://leadmagic.example"), LeadMagicConfigurationError)
        assert str(error).startswith("Invalid proxy settings: correct HTTPS_PROXY. [POST ")

    @PROXY_IN_ERRORS
    def test_untrusted_certificate_of_a_proxy_is_a_configuration_error(self, serve, client_of, tmp_path, monkeypatch):
        server = serve(send(), tls=speaking_tls(self_signed(tmp_path)))
        monkeypatch.setenv("HTTPS_PROXY", f"https://{server.address}")
        error = error_of(client_of("https://leadmagic.example"), LeadMagicConfigurationError)
        assert str(error).startswith("TLS certificate not trusted: check the proxy settings and the CA certificates. ")
        assert server.requests == []

    def test_handshake_through_a_proxy_has_its_own_timeout(self, client_behind):
        started = time.monotonic()
        error_of(client_behind(send(0.2, ESTABLISHED, 0.2, b"\r\n", *SILENCE), timeout=0.6))
        assert time.monotonic() - started > 0.9
