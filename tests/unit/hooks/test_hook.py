"""Tests of how the hook reads the fields of a connection, and of its messages about unusable ones."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import suppress

import pytest
from airflow.models import Connection
from airflow.utils.strings import get_random_string

from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.exceptions import LeadMagicAuthenticationError, LeadMagicConfigurationError
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from dev.local_airflow import AIRFLOW_SERIES
from tests.unit.conftest import CANARY
from tests.unit.test_secrets import local_variables_of

#: Airflow 3.0 and 3.1 report a connection as undefined if its extra is not a JSON object.
REPORTED_AS_MISSING = (3, 0) <= AIRFLOW_SERIES <= (3, 1)
INVALID_EXTRA = (
    r"Connection 'lead' not found: .* as missing if its URI or JSON cannot be parsed\."
    if REPORTED_AS_MISSING
    else r"Connection 'lead' cannot be used: extra must be a JSON object\."
)
INVALID_EXTRA_IN_TEST = (
    r"Connection not found: .* as missing if its URI or JSON cannot be parsed\."
    if REPORTED_AS_MISSING
    else r"This connection cannot be used: extra must be a JSON object\."
)


def clients_of(hook):
    """Return the clients created by ``get_conn`` and, on a second hook, by ``aget_conn``."""
    return hook.get_conn(), asyncio.run(LeadMagicHook(hook.leadmagic_conn_id).aget_conn())


def error_of(hook):
    """Return the message with which ``get_conn`` and ``aget_conn`` both fail."""
    with pytest.raises(LeadMagicConfigurationError) as caught:
        hook.get_conn()
    with pytest.raises(LeadMagicConfigurationError) as caught_async:
        asyncio.run(hook.aget_conn())
    assert str(caught.value) == str(caught_async.value)
    return str(caught.value)


class TestBaseUrl:
    @pytest.mark.parametrize(
        ("fields", "address"),
        [
            pytest.param({}, "https://api.leadmagic.io", id="no host"),
            pytest.param({"host": ""}, "https://api.leadmagic.io", id="empty host"),
            pytest.param({"host": "   "}, "https://api.leadmagic.io", id="blank host"),
            pytest.param({"host": "proxy.example"}, "https://proxy.example", id="host"),
            pytest.param({"host": "https://proxy.example/"}, "https://proxy.example", id="scheme and slash"),
            pytest.param(
                {"host": "https://proxy.example:8443/lm/"}, "https://proxy.example:8443/lm", id="port and path"
            ),
            pytest.param({"host": "proxy.example", "port": 8443}, "https://proxy.example:8443", id="port field"),
            pytest.param({"host": "proxy.example", "schema": "https"}, "https://proxy.example", id="schema field"),
            pytest.param({"host": "localhost", "port": 8000}, "http://localhost:8000", id="loopback"),
            pytest.param({"host": "localhost", "schema": "https"}, "https://localhost", id="https on loopback"),
            pytest.param({"host": "http://[::1]:8000"}, "http://[::1]:8000", id="IPv6 loopback"),
            pytest.param(
                {"host": "https://proxy.example", "schema": "http"},
                "https://proxy.example",
                id="scheme of the host takes precedence",
            ),
        ],
    )
    def test_host_sets_the_base_url(self, connect, fields, address):
        assert [client.base_url for client in clients_of(connect(**fields))] == [address] * 2

    @pytest.mark.parametrize(
        ("uri", "address"),
        [
            pytest.param(f"leadmagic://:{CANARY}@", "https://api.leadmagic.io", id="no host"),
            pytest.param(f"leadmagic://:{CANARY}@proxy.example", "https://proxy.example", id="host"),
            pytest.param(f"leadmagic://:{CANARY}@proxy.example:8443", "https://proxy.example:8443", id="port"),
            pytest.param(f"leadmagic://:{CANARY}@127.0.0.1:8000/", "http://127.0.0.1:8000", id="loopback"),
            pytest.param(f"leadmagic://:{CANARY}@127.0.0.1:8000/http", "http://127.0.0.1:8000", id="schema"),
            pytest.param(
                f"leadmagic://:{CANARY}@https%3A%2F%2Fproxy.example%3A8443%2F",
                "https://proxy.example:8443",
                id="quoted URL",
            ),
        ],
    )
    def test_connection_uri_sets_the_base_url(self, connect, uri, address):
        assert [client.base_url for client in clients_of(connect(uri))] == [address] * 2

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            pytest.param({"host": "http://proxy.example"}, ["host", "plain http", "'http://proxy.example'"], id="http"),
            pytest.param(
                {"host": "proxy.example", "schema": "http"}, ["plain http", "'proxy.example'"], id="http schema"
            ),
            pytest.param({"host": "ftp://proxy.example"}, ["host", "'ftp://proxy.example'"], id="another scheme"),
            pytest.param({"host": "my proxy"}, ["host", "'my proxy'"], id="spaces"),
            pytest.param(
                {"host": "proxy.example:99999"}, ["host", "'proxy.example:99999'"], id="port in host too high"
            ),
            pytest.param({"host": "proxy.example?a=1"}, ["host", "an address with a user name or a query"], id="query"),
            pytest.param({"schema": "ftp"}, ["schema must be https, http or empty"], id="schema"),
            pytest.param({"host": "proxy.example", "port": 99999}, ["port", "99999"], id="port too high"),
            pytest.param({"host": "127.0.0.1", "port": -1}, ["port", "-1"], id="port below zero"),
        ],
    )
    def test_invalid_field_is_rejected_with_its_name_and_value(self, connect, fields, words):
        message = error_of(connect(**fields))
        assert message.startswith("Connection 'lead' cannot be used: ")
        assert all(word in message for word in words)
        assert "base_url" not in message
        assert CANARY not in message

    @pytest.mark.parametrize(
        "host",
        [
            pytest.param(f"https://user:{CANARY}@api.leadmagic.io", id="password"),
            pytest.param(f"https://api.leadmagic.io?api_key={CANARY}", id="query"),
        ],
    )
    def test_key_in_the_host_is_not_shown(self, connect, host):
        message = error_of(connect(host=host))
        assert "host" in message
        assert CANARY not in message

    def test_key_in_the_schema_is_not_shown_and_the_message_names_the_password(self, connect):
        message = error_of(connect(schema=CANARY))
        assert CANARY not in message
        assert "the API key belongs in the password" in message


class TestKey:
    @pytest.mark.parametrize("password", [None, "", "   "], ids=repr)
    def test_missing_key_is_rejected(self, connect, password):
        message = error_of(connect(password=password))
        assert message == "Connection 'lead' cannot be used: the API key is empty."

    @pytest.mark.parametrize("password", [f"{CANARY}\nX-Evil: 1", f"{CANARY} {CANARY}", f"{CANARY}ä"], ids=repr)
    def test_key_that_cannot_be_sent_in_a_header_is_rejected_without_showing_it(self, connect, password):
        message = error_of(connect(password=password))
        assert "the API key contains" in message
        assert CANARY not in message

    def test_key_is_sent_to_leadmagic(self, leadmagic_sandbox):
        assert [client.get_credits().credits for client in clients_of(LeadMagicHook())] == [1000] * 2


class TestTimeout:
    @pytest.mark.parametrize(
        ("extra", "seconds"),
        [
            pytest.param(None, 30, id="no extra"),
            pytest.param("", 30, id="empty extra"),
            pytest.param("{}", 30, id="no timeout"),
            pytest.param({"timeout": None}, 30, id="null"),
            pytest.param({"timeout": ""}, 30, id="empty"),
            pytest.param({"timeout": 5}, 5, id="number"),
            pytest.param({"timeout": 0.5}, 0.5, id="fraction"),
            pytest.param({"timeout": "7.5"}, 7.5, id="text, as sent by a form"),
            pytest.param('{"timeout": 9, "note": "x"}', 9, id="extra as text"),
        ],
    )
    def test_extra_sets_the_timeout(self, connect, extra, seconds):
        assert [client._transport.timeout for client in clients_of(connect(extra=extra))] == [seconds] * 2

    def test_connection_uri_sets_the_timeout(self, connect):
        hook = connect(f"leadmagic://:{CANARY}@/?timeout=12")
        assert [client._transport.timeout for client in clients_of(hook)] == [12] * 2

    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            pytest.param('"soon"', "'soon'", id="word"),
            pytest.param("0", "0", id="zero"),
            pytest.param("true", "True", id="bool"),
            pytest.param("[5]", "[5]", id="list"),
            pytest.param("NaN", "nan", id="NaN"),
            pytest.param("1e400", "inf", id="1e400"),
            pytest.param("1e300", "1e+300", id="above the limit of sockets"),
            pytest.param("9" * 400, "99999", id="400 digits"),
        ],
    )
    def test_invalid_timeout_is_rejected_with_field_and_value(self, connect, value, shown):
        message = error_of(connect(extra=f'{{"timeout": {value}}}'))
        assert message.startswith("Connection 'lead' cannot be used: timeout (extra) must be ")
        assert shown in message

    @pytest.mark.parametrize("extra", ["{broken", "[1]", "null", "timeout=5"])
    def test_extra_that_is_not_a_json_object_is_rejected(self, connect, extra):
        message = error_of(connect(extra=extra))
        assert re.fullmatch(INVALID_EXTRA, message)


class TestAllowHttp:
    @pytest.fixture
    def container(self, resolve_container, monkeypatch):
        """Return a sandbox with the host name ``sandbox``, which a proxy cannot resolve."""
        resolve_container("sandbox")
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        with Sandbox(allow_hosts=["sandbox"]) as sandbox:
            yield sandbox

    def test_a_container_is_reached_without_a_proxy_and_each_client_logs_that_the_key_is_unencrypted(
        self, connect, container, logged
    ):
        url = container.url.replace("127.0.0.1", "sandbox")
        hook = connect(host=url, password=container.api_key, extra={"allow_http": True})
        assert [client.get_credits().credits for client in clients_of(hook)] == [1000] * 2
        warning = f"API key is sent unencrypted to {url}: allow_http is for test servers only. [connection 'lead']"
        assert logged().count(warning) == 2

    @pytest.mark.parametrize(
        ("host", "address"),
        [("https://sandbox", "https://sandbox"), ("127.0.0.1:4010", "http://127.0.0.1:4010")],
    )
    def test_nothing_is_logged_if_the_key_does_not_cross_a_network_in_plain_text(self, connect, logged, host, address):
        hook = connect(host=host, extra={"allow_http": True})
        assert [client.base_url for client in clients_of(hook)] == [address] * 2
        assert "unencrypted" not in logged()

    @pytest.mark.parametrize("extra", [{}, {"allow_http": None}, {"allow_http": False}], ids=str)
    def test_plain_http_to_a_container_is_rejected_by_default(self, connect, extra):
        message = error_of(connect(host="http://sandbox:4010", extra=extra))
        assert message == (
            "Connection 'lead' cannot be used: host (API base URL) must start with https:// (plain http exposes the "
            "API key); for a test server, set allow_http to true; got 'http://sandbox:4010'."
        )

    def test_plain_http_to_a_public_host_is_rejected_despite_allow_http(self, connect):
        message = error_of(connect(host="http://api.leadmagic.io", extra={"allow_http": True}))
        assert "; allow_http is for private hosts only; got 'http://api.leadmagic.io'." in message

    @pytest.mark.parametrize("value", ["true", "no", "", 1, [True]], ids=repr)
    def test_a_value_that_is_not_a_boolean_is_rejected_with_field_and_value(self, connect, value):
        message = error_of(connect(extra={"allow_http": value}))
        assert message == f"Connection 'lead' cannot be used: allow_http (extra) must be true or false; got {value!r}."


class TestConnectionId:
    def test_default_is_leadmagic_default(self):
        assert LeadMagicHook().leadmagic_conn_id == LeadMagicHook.default_conn_name == "leadmagic_default"

    def test_missing_connection_is_named_with_advice(self):
        assert error_of(LeadMagicHook("missing")) == (
            "Connection 'missing' not found: create it (type LeadMagic) under Admin > Connections, or set "
            "leadmagic_conn_id to an existing one. Airflow also reports a connection as missing if its URI or JSON "
            "cannot be parsed."
        )

    @pytest.mark.parametrize("conn_id", ["", "  ", None, 5], ids=repr)
    def test_invalid_connection_id_is_rejected(self, conn_id):
        message = error_of(LeadMagicHook(conn_id))
        assert message == f"leadmagic_conn_id must be a connection ID; got {conn_id!r}"


class TestClient:
    def test_creating_a_hook_reads_no_connection(self, mocker, monkeypatch):
        monkeypatch.setattr(socket, "create_connection", mocker.Mock(side_effect=AssertionError("network")))
        lookup = mocker.patch.object(LeadMagicHook, "get_connection", side_effect=AssertionError("connection"))
        LeadMagicHook("missing")
        assert lookup.call_count == 0

    def test_creating_a_client_sends_no_request(self, leadmagic_sandbox):
        clients_of(LeadMagicHook())
        assert leadmagic_sandbox.requests == []

    def test_get_conn_returns_the_same_client_every_time(self, connect):
        hook = connect()
        assert hook.get_conn() is hook.get_conn()

    def test_aget_conn_returns_the_same_client_as_get_conn(self, connect):
        hook = connect()
        first = asyncio.run(hook.aget_conn())
        assert asyncio.run(hook.aget_conn()) is hook.get_conn() is first

    def test_client_is_created_after_an_earlier_failure(self, connect):
        hook = connect(password="")
        error_of(hook)
        connect()
        assert hook.get_conn().base_url == "https://api.leadmagic.io"

    def test_max_attempts_limits_the_requests(self, leadmagic_sandbox):
        leadmagic_sandbox.fail_next(status=500, times=None)
        with pytest.raises(Exception, match=r"^Server error \(500 INTERNAL_ERROR\): "):
            LeadMagicHook(max_attempts=1).get_conn().get_credits()
        assert len(leadmagic_sandbox.requests) == 1

    def test_rejected_key_names_the_connection(self, leadmagic_sandbox, connect):
        hook = connect(host=leadmagic_sandbox.url)
        with pytest.raises(Exception, match="check the password of connection 'lead'"):
            hook.get_conn().get_credits()

    def test_repr_of_hook_and_client_does_not_show_the_key(self, connect):
        hook = connect()
        assert CANARY not in f"{hook!r} {hook} {hook.get_conn()!r} {vars(hook)}"


class TestTestConnection:
    def test_valid_connection_returns_the_balance(self, leadmagic_sandbox):
        leadmagic_sandbox.set_credits("15432.50")
        leadmagic_sandbox.freeze(liquid=40)
        assert LeadMagicHook().test_connection() == (
            True,
            "Connected to LeadMagic: 15,432.5 credits, 40 spendable.",
        )
        assert leadmagic_sandbox.credits == 15432.5

    @pytest.mark.parametrize(
        ("fault", "beginning"),
        [
            pytest.param(
                {"status": 401},
                "API key rejected (401 invalid_api_key): check the password of this connection. ",
                id="401",
            ),
            pytest.param(
                {"status": 403},
                "Access denied (403 insufficient_permissions): check the plan and role of this connection. ",
                id="403",
            ),
            pytest.param(
                {"status": 404}, "Not found (404 resource_not_found): check the host of this connection. ", id="404"
            ),
            pytest.param({"retry_after": 5}, "Rate limit exceeded (429 rate_limit_exceeded): retry in 5 s. ", id="429"),
            pytest.param({"status": 503}, "Server error (503 service_unavailable): retry later. ", id="503"),
            pytest.param(
                {"drop": True},
                "Connection closed by the server: retry later or check the host of this connection. ",
                id="dropped",
            ),
            pytest.param(
                {"body": "<html>Sign in</html>"},
                "Response is not JSON (200): retry later or check the host of this connection. ",
                id="HTML",
            ),
            pytest.param(
                {"body": '{"hello": 1}'},
                "Invalid balance: `credits` is missing. Check the host of this connection. ",
                id="other JSON",
            ),
            pytest.param(
                {"redirect_to": "https://x.example"},
                "Redirected (302): correct the host of this connection. ",
                id="redirect",
            ),
        ],
    )
    def test_message_starts_with_cause_and_advice(self, leadmagic_sandbox, fault, beginning):
        leadmagic_sandbox.fail_next(**fault, times=None)
        works, message = LeadMagicHook().test_connection()
        assert not works
        assert message.startswith(beginning)
        assert len(beginning) <= 110  # where Airflow's UI cuts a line
        assert len(message) < 400
        assert leadmagic_sandbox.api_key not in message

    def test_connection_test_makes_one_attempt(self, leadmagic_sandbox):
        leadmagic_sandbox.fail_next(status=500, times=None)
        LeadMagicHook().test_connection()
        assert len(leadmagic_sandbox.requests) == 1

    @pytest.mark.parametrize(("timeout", "used"), [(300, 10), (2, 2)], ids=["long", "short"])
    def test_connection_test_waits_at_most_ten_seconds(self, connect, mocker, timeout, used):
        request = mocker.patch("requests.Session.request", side_effect=OSError)
        connect(extra={"timeout": timeout}).test_connection()
        assert request.call_args.kwargs["timeout"] == (used, used)

    def test_refused_connection_is_reported(self, connect, closed_port):
        works, message = connect(host="127.0.0.1", port=closed_port).test_connection()
        assert not works
        refused = "Connection refused: check the host of this connection."
        assert message == f"{refused} [GET http://127.0.0.1:{closed_port}/v1/credits]"

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            pytest.param({"password": ""}, r"This connection cannot be used: the API key is empty\.", id="key"),
            pytest.param({"extra": "{broken"}, INVALID_EXTRA_IN_TEST, id="extra"),
        ],
    )
    def test_unusable_connection_is_reported(self, connect, fields, message):
        works, returned = connect(**fields).test_connection()
        assert not works
        assert re.fullmatch(message, returned)

    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param({"extra": f'{{"timeout": {"9" * 400}}}'}, id="timeout of 400 digits"),
            pytest.param({"host": "127.0.0.1:1", "extra": '{"timeout": 1e300}'}, id="timeout of 1e300"),
            pytest.param({"host": "127.0.0.1", "port": 99999}, id="port"),
        ],
    )
    def test_number_out_of_range_is_reported(self, connect, fields):
        works, message = connect(**fields).test_connection()
        assert not works
        assert message.startswith("This connection cannot be used: ")

    def test_missing_connection_is_reported(self):
        works, message = LeadMagicHook("missing").test_connection()
        assert not works
        assert message.startswith("Connection not found: create it (type LeadMagic) under Admin > Connections, ")


@pytest.fixture
def press_test_button(monkeypatch):
    """
    Return a function that tests a connection as the Test button of Airflow's connection form does.

    Airflow tests a temporary connection with the values of the form and a random ID, even of a saved connection.
    """

    def press(**fields):
        connection = Connection(conn_id=get_random_string(), conn_type="leadmagic", **fields)
        monkeypatch.setenv(f"AIRFLOW_CONN_{connection.conn_id.upper()}", connection.get_uri())
        works, message = connection.test_connection()
        assert connection.conn_id not in message
        assert CANARY not in message
        return works, message

    return press


class TestTestButton:
    def test_valid_connection_returns_the_balance(self, leadmagic_sandbox, press_test_button):
        assert press_test_button(host=leadmagic_sandbox.url, password=leadmagic_sandbox.api_key) == (
            True,
            "Connected to LeadMagic: 1,000 credits, 1,000 spendable.",
        )

    @pytest.mark.parametrize(
        "fault",
        [
            pytest.param({"status": 403}, id="403"),
            pytest.param({"status": 404}, id="404"),
            pytest.param({"status": 503}, id="503"),
            pytest.param({"body": "<html>Sign in</html>"}, id="HTML"),
        ],
    )
    def test_error_response_does_not_name_the_random_id(self, leadmagic_sandbox, press_test_button, fault):
        leadmagic_sandbox.fail_next(**fault)
        works, _ = press_test_button(host=leadmagic_sandbox.url, password=leadmagic_sandbox.api_key)
        assert not works

    def test_rejected_key_is_reported_for_this_connection(self, leadmagic_sandbox, press_test_button):
        works, message = press_test_button(host=leadmagic_sandbox.url, password=CANARY)
        assert not works
        assert message.startswith("API key rejected (401 invalid_api_key): check the password of this connection. ")

    def test_missing_key_is_reported_for_this_connection(self, press_test_button):
        assert press_test_button(password="") == (False, "This connection cannot be used: the API key is empty.")

    def test_invalid_timeout_is_reported_for_this_connection(self, press_test_button):
        works, message = press_test_button(password=CANARY, extra='{"timeout": "soon"}')
        assert not works
        assert message.startswith("This connection cannot be used: timeout (extra) must be ")


@pytest.mark.parametrize("refresh", [False, True])
@pytest.mark.parametrize("fault", [{}, {"status": 401}], ids=["success", "failure"])
@pytest.mark.parametrize("read", ["get_credits", "test_connection"])
def test_http_connections_are_closed_after_reading_the_balance(leadmagic_sandbox, mocker, read, fault, refresh):
    close = mocker.spy(LeadMagicClient, "close")
    if fault:
        leadmagic_sandbox.fail_next(times=None, **fault)
    options = {"refresh": refresh} if read == "get_credits" else {}
    with suppress(LeadMagicAuthenticationError):
        getattr(LeadMagicHook(), read)(**options)
    assert close.call_count == 1


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"host": "http://proxy.example"}, id="plain http"),
        pytest.param({"schema": "ftp"}, id="schema"),
        pytest.param({"extra": {"timeout": "soon"}}, id="timeout"),
        pytest.param({"extra": {"allow_http": "maybe"}}, id="allow_http"),
        pytest.param({"password": f"{CANARY} {CANARY}"}, id="key with a space"),
    ],
)
@pytest.mark.parametrize(
    "read", [LeadMagicHook.get_conn, lambda hook: asyncio.run(hook.aget_conn())], ids=["sync", "async"]
)
def test_configuration_error_holds_neither_the_connection_nor_the_key(connect, fields, read):
    with pytest.raises(LeadMagicConfigurationError) as caught:
        read(connect(**fields))
    assert CANARY not in local_variables_of(caught.value)
    assert "Connection(" not in local_variables_of(caught.value)
