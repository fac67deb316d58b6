"""Tests of the limits of a request: time, size and host."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_leadmagic.api import transport
from airflow_provider_leadmagic.api.deadlines import Deadline
from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.exceptions import LeadMagicConnectionError, LeadMagicError, LeadMagicResponseError
from tests.support.raw_server import SILENCE, send, send_endlessly
from tests.support.responses import BALANCE_RESPONSE

API_KEY = "lm_unknown_key"


class TestTime:
    def test_connection_timeout_sends_nothing(self, full_queue):
        with (
            LeadMagicClient(API_KEY, full_queue, timeout=0.1, max_attempts=1) as client,
            pytest.raises(LeadMagicConnectionError, match=r"^No connection within 0\.1 s: ") as caught,
        ):
            client.enrich("email_finder")
        assert not caught.value.request_sent

    def test_connection_timeout_names_the_limit_for_connecting(self, full_queue, monkeypatch):
        monkeypatch.setattr(transport, "CONNECT_TIMEOUT", 0.1)
        with (
            LeadMagicClient(API_KEY, full_queue, timeout=20, max_attempts=1) as client,
            pytest.raises(LeadMagicConnectionError, match=r"^No connection within 0\.1 s: "),
        ):
            client.enrich("email_finder")

    @pytest.mark.parametrize(
        ("timeout", "limits"), [(30, (10, 30)), (4, (4, 4)), (300, (10, 300))], ids=["default", "short", "long"]
    )
    def test_connecting_is_limited_to_ten_seconds(self, mocker, timeout, limits):
        request = mocker.patch("requests.Session.request", side_effect=OSError)
        with (
            LeadMagicClient(API_KEY, timeout=timeout, max_attempts=1) as client,
            pytest.raises(LeadMagicConnectionError),
        ):
            client.get_credits()
        assert request.call_args.kwargs["timeout"] == limits

    def test_request_that_is_not_read_to_its_end_may_have_been_sent(self, serve):
        server = serve(send(*SILENCE), read_request=False)
        with (
            LeadMagicClient(API_KEY, server.url, timeout=0.3, max_attempts=1) as client,
            pytest.raises(LeadMagicConnectionError, match=r"^Request not accepted in time: retry later or ") as caught,
        ):
            client.enrich("email_finder", full_name="x" * 30_000_000)
        assert caught.value.request_sent


class TestDeadline:
    def test_no_time_is_left_exactly_at_the_end(self, mocker):
        clock = mocker.patch("airflow_provider_leadmagic.api.deadlines.time.monotonic", return_value=100.0)
        deadline = Deadline(5)
        clock.return_value = 104.5
        assert deadline.left() == 0.5
        clock.return_value = 105.0
        with pytest.raises(TimeoutError):
            deadline.left()


class TestConnections:
    def test_connection_is_closed_after_a_response_that_was_not_read(self, serve):
        redirect = b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"
        # The server accepts the second connection after the first one is closed.
        server = serve(send_endlessly(redirect, b" " * 65536), send(BALANCE_RESPONSE))
        with LeadMagicClient(API_KEY, server.url, timeout=2, max_attempts=1) as client:
            with pytest.raises(LeadMagicResponseError):
                client.get_credits()
            assert client.get_credits().credits == 5

    def test_closing_the_client_closes_its_connection(self):
        with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
            client = LeadMagicClient(API_KEY, "http://{}:{}".format(*listener.getsockname()), timeout=5, max_attempts=1)
            balance = pool.submit(client.get_credits)
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(5)
                connection.recv(65536)
                connection.sendall(BALANCE_RESPONSE)
                assert balance.result(5).credits == 5
                client.close()
                assert connection.recv(1) == b""


class TestSize:
    def test_body_of_the_largest_size_is_read(self, client, leadmagic_sandbox, monkeypatch):
        monkeypatch.setattr(transport, "MAX_BODY_BYTES", 1000)
        leadmagic_sandbox.fail_next(body='{"credits": 5}'.ljust(1000))
        assert client.get_credits().credits == 5

    def test_larger_body_is_rejected(self, client, leadmagic_sandbox, monkeypatch):
        monkeypatch.setattr(transport, "MAX_BODY_BYTES", 1000)
        leadmagic_sandbox.fail_next(body='{"credits": 5}'.ljust(1001))
        with pytest.raises(LeadMagicResponseError, match=r"^Response over 1,000 bytes: ") as caught:
            client.get_credits()
        assert caught.value.transient

    def test_body_of_an_error_response_is_limited(self, client, leadmagic_sandbox, monkeypatch):
        monkeypatch.setattr(transport, "MAX_BODY_BYTES", 1000)
        leadmagic_sandbox.fail_next(status=400, body=" " * 1001)
        with pytest.raises(LeadMagicResponseError, match=r"^Response over 1,000 bytes: "):
            client.get_credits()

    def test_client_works_after_a_body_was_rejected(self, client, leadmagic_sandbox, monkeypatch):
        monkeypatch.setattr(transport, "MAX_BODY_BYTES", 1000)
        leadmagic_sandbox.fail_next(body=" " * 100_000)
        with pytest.raises(LeadMagicResponseError):
            client.get_credits()
        assert client.get_credits().credits == 1000


@pytest.mark.parametrize("status", [301, 302, 304, 307, 308])
def test_redirect_is_not_followed(client, leadmagic_sandbox, status):
    leadmagic_sandbox.fail_next(status=status, redirect_to=f"{leadmagic_sandbox.url}/v1/credits/health")
    with pytest.raises(LeadMagicResponseError, match=rf"^Redirected \({status}\): .* Redirects are not followed"):
        client.get_credits()
    assert [request.path for request in leadmagic_sandbox.requests] == ["/v1/credits"]


def test_redirect_of_a_lookup_is_not_followed(client, leadmagic_sandbox):
    leadmagic_sandbox.fail_next("/v1/people/email-finder", status=307, redirect_to="/v1/companies/company-search")
    with pytest.raises(LeadMagicResponseError, match=r"^Redirected \(307\): "):
        client.enrich("email_finder", full_name="Ada Lovelace", domain="example.com")
    assert leadmagic_sandbox.credits == 1000


def test_user_agent_names_the_provider(client, leadmagic_sandbox):
    client.get_credits()
    assert leadmagic_sandbox.requests[0].user_agent.startswith("airflow-provider-leadmagic/")


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("*.leadmagic.io", id="wildcard"),
        pytest.param(".", id="dot"),
        pytest.param("api..leadmagic.io", id="empty label"),
        pytest.param(f"{'x' * 64}.io", id="label too long"),
    ],
)
def test_invalid_host_name_is_not_transient(host):
    def request():
        with LeadMagicClient(API_KEY, f"https://{host}", max_attempts=1) as client:
            client.get_credits()

    with pytest.raises(LeadMagicError) as caught:
        request()
    assert not caught.value.transient
