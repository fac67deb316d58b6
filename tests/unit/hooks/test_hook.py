"""From an Airflow connection to a client: what each field means, and what is said when one cannot be used."""

from __future__ import annotations

import asyncio
import re
import socket

import pytest

from airflow_provider_leadmagic.exceptions import LeadMagicConfigurationError
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from dev.local_airflow import AIRFLOW_SERIES
from tests.unit.conftest import CANARY

#: Airflow 3.0 and 3.1 keep a connection with such an extra to themselves, and call it undefined.
REFUSAL_OF_THE_EXTRA = (
    r"Connection 'lead' does not exist: .* What cannot be parsed counts as missing\."
    if (3, 0) <= AIRFLOW_SERIES <= (3, 1)
    else r"Connection 'lead' cannot be used: extra must be a JSON object\."
)


def clients_of(hook):
    """Ask for a client both ways, of a hook that was not asked before."""
    return hook.get_conn(), asyncio.run(LeadMagicHook(hook.leadmagic_conn_id).aget_conn())


def refusal_of(hook):
    """Have a hook refuse to build a client, both ways and in the same words."""
    with pytest.raises(LeadMagicConfigurationError) as caught:
        hook.get_conn()
    with pytest.raises(LeadMagicConfigurationError) as caught_async:
        asyncio.run(hook.aget_conn())
    assert str(caught.value) == str(caught_async.value)
    return str(caught.value)


class TestAddress:
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
            pytest.param({"host": "https://proxy.example", "schema": "http"}, "https://proxy.example", id="host wins"),
        ],
    )
    def test_it_comes_from_the_host(self, connect, fields, address):
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
    def test_it_comes_from_a_connection_uri_too(self, connect, uri, address):
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
            pytest.param({"host": "proxy.example?a=1"}, ["host", "one with a user name or a query"], id="query"),
            pytest.param({"schema": "ftp"}, ["schema must be https, http or empty"], id="schema"),
            pytest.param({"host": "proxy.example", "port": 99999}, ["port", "99999"], id="port too high"),
            pytest.param({"host": "127.0.0.1", "port": -1}, ["port", "-1"], id="port below zero"),
        ],
    )
    def test_one_that_cannot_be_used_is_refused_by_field_and_value(self, connect, fields, words):
        message = refusal_of(connect(**fields))
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
    def test_a_key_that_was_put_into_the_host_is_not_shown(self, connect, host):
        message = refusal_of(connect(host=host))
        assert "host" in message
        assert CANARY not in message

    def test_a_key_that_was_put_into_the_schema_is_not_shown_but_sent_where_it_belongs(self, connect):
        message = refusal_of(connect(schema=CANARY))
        assert CANARY not in message
        assert "the API key belongs into the password" in message


class TestKey:
    @pytest.mark.parametrize("password", [None, "", "   "], ids=repr)
    def test_a_missing_one_is_named(self, connect, password):
        message = refusal_of(connect(password=password))
        assert message == "Connection 'lead' cannot be used: the API key is empty."

    @pytest.mark.parametrize("password", [f"{CANARY}\nX-Evil: 1", f"{CANARY} {CANARY}", f"{CANARY}ä"], ids=repr)
    def test_one_that_cannot_be_sent_is_refused_without_showing_it(self, connect, password):
        message = refusal_of(connect(password=password))
        assert "the API key holds" in message
        assert CANARY not in message

    def test_it_reaches_leadmagic(self, leadmagic_sandbox):
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
            pytest.param({"timeout": "7.5"}, 7.5, id="text, as a form sends it"),
            pytest.param('{"timeout": 9, "note": "x"}', 9, id="extra as text"),
        ],
    )
    def test_it_comes_from_the_extra(self, connect, extra, seconds):
        assert [client._transport.timeout for client in clients_of(connect(extra=extra))] == [seconds] * 2

    def test_it_comes_from_a_connection_uri_too(self, connect):
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
            pytest.param("1e300", "1e+300", id="longer than a socket can wait"),
            pytest.param("9" * 400, "99999", id="400 digits"),
        ],
    )
    def test_one_that_cannot_be_used_is_refused_by_field_and_value(self, connect, value, shown):
        message = refusal_of(connect(extra=f'{{"timeout": {value}}}'))
        assert message.startswith("Connection 'lead' cannot be used: timeout (extra) must be ")
        assert shown in message

    @pytest.mark.parametrize("extra", ["{broken", "[1]", "null", "timeout=5"])
    def test_an_extra_that_is_no_json_object_is_refused_rather_than_ignored(self, connect, extra):
        message = refusal_of(connect(extra=extra))
        assert re.fullmatch(REFUSAL_OF_THE_EXTRA, message)


class TestConnectionId:
    def test_the_default_is_leadmagic_default(self):
        assert LeadMagicHook().leadmagic_conn_id == LeadMagicHook.default_conn_name == "leadmagic_default"

    def test_one_that_does_not_exist_is_named_with_a_way_out(self):
        message = refusal_of(LeadMagicHook("nobody_made_this"))
        assert message.startswith("Connection 'nobody_made_this' does not exist: add it under Admin, Connections")

    @pytest.mark.parametrize("conn_id", ["", "  ", None, 5], ids=repr)
    def test_one_that_is_no_id_is_refused_by_name(self, conn_id):
        message = refusal_of(LeadMagicHook(conn_id))
        assert message == f"leadmagic_conn_id must be the id of a connection; got {conn_id!r}"


class TestClient:
    def test_making_a_hook_reads_nothing(self, mocker, monkeypatch):
        monkeypatch.setattr(socket, "create_connection", mocker.Mock(side_effect=AssertionError("network")))
        lookup = mocker.patch.object(LeadMagicHook, "get_connection", side_effect=AssertionError("connection"))
        LeadMagicHook("nobody_made_this")
        assert lookup.call_count == 0

    def test_making_a_client_calls_nobody(self, leadmagic_sandbox):
        clients_of(LeadMagicHook())
        assert leadmagic_sandbox.requests == []

    def test_it_is_the_same_one_each_time(self, connect):
        hook = connect()
        assert hook.get_conn() is hook.get_conn()

    def test_both_ways_lead_to_the_same_one(self, connect):
        hook = connect()
        first = asyncio.run(hook.aget_conn())
        assert asyncio.run(hook.aget_conn()) is hook.get_conn() is first

    def test_a_failed_attempt_is_not_remembered(self, connect):
        hook = connect(password="")
        refusal_of(hook)
        connect()
        assert hook.get_conn().base_url == "https://api.leadmagic.io"

    def test_the_number_of_tries_is_passed_on(self, leadmagic_sandbox):
        leadmagic_sandbox.fail_next(status=500, times=None)
        with pytest.raises(Exception, match="answered 500"):
            LeadMagicHook(max_attempts=1).get_conn().get_credits()
        assert len(leadmagic_sandbox.requests) == 1

    def test_a_rejected_key_is_blamed_on_the_connection_by_name(self, leadmagic_sandbox, connect):
        hook = connect(host=leadmagic_sandbox.url)
        with pytest.raises(Exception, match="Check the API key of connection 'lead'"):
            hook.get_conn().get_credits()

    def test_neither_hook_nor_client_shows_the_key(self, connect):
        hook = connect()
        assert CANARY not in f"{hook!r} {hook} {hook.get_conn()!r} {vars(hook)}"


class TestTestConnection:
    def test_a_good_connection_says_the_balance(self, leadmagic_sandbox):
        leadmagic_sandbox.set_credits("15432.50")
        leadmagic_sandbox.freeze(liquid=40)
        assert LeadMagicHook().test_connection() == (
            True,
            "LeadMagic answered: 15,432.5 credits, of which 40 can be spent now.",
        )
        assert leadmagic_sandbox.credits == 15432.5

    @pytest.mark.parametrize(
        ("fault", "begins", "contains"),
        [
            pytest.param({"status": 401}, "API key rejected: ", "answered 401", id="401"),
            pytest.param({"status": 403}, "API key not allowed to read the balance: ", "answered 403", id="403"),
            pytest.param({"status": 404}, "Not LeadMagic's API: ", "Check the base URL", id="404"),
            pytest.param({"retry_after": 5}, "LeadMagic cannot respond now: ", "answered 429", id="429"),
            pytest.param({"status": 503}, "LeadMagic cannot respond now: ", "answered 503", id="503"),
            pytest.param({"drop": True}, "Host unreachable: ", "got no response", id="dropped"),
            pytest.param({"body": "<html>Sign in</html>"}, "Not LeadMagic's API: ", "not JSON", id="HTML"),
            pytest.param({"body": '{"hello": 1}'}, "Not LeadMagic's API: ", "without `credits`", id="other JSON"),
            pytest.param({"redirect_to": "https://x.example"}, "Not LeadMagic's API: ", "redirect", id="redirect"),
        ],
    )
    def test_what_is_wrong_is_said_first(self, leadmagic_sandbox, fault, begins, contains):
        leadmagic_sandbox.fail_next(**fault, times=None)
        works, message = LeadMagicHook().test_connection()
        assert not works
        assert message.startswith(begins)
        assert contains in message
        assert len(message) < 400
        assert leadmagic_sandbox.api_key not in message

    def test_somebody_is_waiting_so_it_tries_once(self, leadmagic_sandbox):
        leadmagic_sandbox.fail_next(status=500, times=None)
        LeadMagicHook().test_connection()
        assert len(leadmagic_sandbox.requests) == 1

    @pytest.mark.parametrize(("timeout", "waited"), [(300, 10), (2, 2)], ids=["long", "short"])
    def test_somebody_is_waiting_so_it_takes_ten_seconds_at_most(self, connect, mocker, timeout, waited):
        request = mocker.patch("requests.Session.request", side_effect=OSError)
        connect(extra={"timeout": timeout}).test_connection()
        assert request.call_args.kwargs["timeout"] == (waited, waited)

    def test_a_refused_connection_says_so(self, connect, closed_port):
        works, message = connect(host="127.0.0.1", port=closed_port).test_connection()
        assert not works
        assert (
            message
            == f"Host unreachable: GET http://127.0.0.1:{closed_port}/v1/credits got no response: Connection refused"
        )

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            pytest.param({"password": ""}, r"Connection 'lead' cannot be used: the API key is empty\.", id="key"),
            pytest.param({"extra": "{broken"}, REFUSAL_OF_THE_EXTRA, id="extra"),
        ],
    )
    def test_a_connection_that_cannot_be_used_is_an_answer_and_no_crash(self, connect, fields, message):
        works, told = connect(**fields).test_connection()
        assert not works
        assert re.fullmatch(message, told)

    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param({"extra": f'{{"timeout": {"9" * 400}}}'}, id="timeout of 400 digits"),
            pytest.param({"host": "127.0.0.1:1", "extra": '{"timeout": 1e300}'}, id="timeout of 1e300"),
            pytest.param({"host": "127.0.0.1", "port": 99999}, id="port"),
        ],
    )
    def test_nor_is_an_absurd_number_a_crash(self, connect, fields):
        works, message = connect(**fields).test_connection()
        assert not works
        assert message.startswith("Connection 'lead' cannot be used: ")

    def test_a_connection_that_does_not_exist_is_an_answer_and_no_crash(self):
        works, message = LeadMagicHook("nobody_made_this").test_connection()
        assert not works
        assert message.startswith("Connection 'nobody_made_this' does not exist")
