"""Tests of the extra fields of a connection, and of values in the wrong field, such as an API key in the login."""

from __future__ import annotations

import json

import pytest

from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.exceptions import LeadMagicConfigurationError
from tests.unit.conftest import CANARY
from tests.unit.hooks.test_hook import clients_of, error_of
from tests.unit.test_secrets import all_text_of, local_variables_of

PROXIES = {"https": f"http://user:{CANARY}@proxy.example:3128"}
HEADERS = {"X-Gateway-Token": CANARY}

#: Setting, invalid value, and the message after the name of the setting.
INVALID = [
    ("proxies", f"http://user:{CANARY}@proxy.example:3128", 'must be like {"https": "http://proxy.example:3128"}'),
    ("proxies", [CANARY], 'must be like {"https": "http://proxy.example:3128"}'),
    ("proxies", f'{{"https": "{CANARY}"', 'must be like {"https": "http://proxy.example:3128"}'),
    ("proxies", {"htps": f"http://u:{CANARY}@p"}, "must have the keys https, http or all; got 'htps'"),
    ("proxies", {"no_proxy": "a.example"}, "must have the keys https, http or all; got 'no_proxy'"),
    ("proxies", {f"http://user:{CANARY}@proxy.example": "https"}, "must have the keys https, http or all"),
    *(
        ("proxies", {"https": address}, "must have an address like http://user:password@proxy.example:3128 for 'https'")
        for address in (
            f"http://user:{CANARY}/x@proxy.example:3128",
            f"http://user:{CANARY}#x@proxy.example:3128",
            f"http://user:{CANARY} x@proxy.example:3128",
            f"http://user:{CANARY}@proxy.example:99999",
            f"http://user:{CANARY}@proxy.example:0",
            f"http://user:{CANARY}@",
            f"http://user:{CANARY}@[::1",
            f"ftp://user:{CANARY}@proxy.example",
            3128,
            [CANARY],
        )
    ),
    ("verify", 1, "must be true, false or the path of CA certificates; got 1"),
    ("verify", ["/ca.pem"], "must be true, false or the path of CA certificates; got ['/ca.pem']"),
    ("headers", "X-Tenant: marketing", 'must be like {"X-Tenant": "marketing"}'),
    ("headers", ["X-Tenant"], 'must be like {"X-Tenant": "marketing"}'),
    ("headers", {f"Authorization: {CANARY}": ""}, "must have names of letters, digits and hyphens"),
    ("headers", {"": "x"}, "must have names of letters, digits and hyphens"),
    ("headers", {"X-Ümlaut": "x"}, "must have names of letters, digits and hyphens"),
    *(
        ("headers", {name: CANARY}, f"must not have {name}, which is reserved for the client")
        for name in ("X-API-Key", "x-api-key", "X-Api-KEY", "x_api_key", "Accept-Encoding", "Host", "content-length")
    ),
    *(
        ("headers", {"X-Token": value}, "must have one line of ASCII text as the value of X-Token")
        for value in (f"{CANARY}\r\nX-API-Key: evil", f"{CANARY}ä", 5, None, [CANARY])
    ),
]


@pytest.mark.parametrize(("setting", "value", "message"), INVALID)
class TestInvalidValues:
    def test_in_a_connection_is_rejected_without_secrets(self, connect, setting, value, message):
        hook = connect(extra={setting: value})
        shown = error_of(hook)
        assert shown.startswith(f"Connection 'lead' cannot be used: {setting} (extra) {message}")
        with pytest.raises(LeadMagicConfigurationError) as caught:
            hook.get_conn()
        assert CANARY not in all_text_of(caught.value) + local_variables_of(caught.value)

    def test_as_an_argument_of_the_client_is_rejected_without_secrets(self, setting, value, message):
        with pytest.raises(LeadMagicConfigurationError) as caught:
            LeadMagicClient("key", **{setting: value})
        assert str(caught.value).startswith(f"{setting} {message}")
        assert CANARY not in str(caught.value)


def network_of(client):
    network = client._transport.network
    return {"proxies": dict(network.proxies), "verify": network.verify, "headers": dict(network.headers)}


@pytest.mark.parametrize(
    ("extra", "used"),
    [
        ({"proxies": PROXIES}, {"proxies": PROXIES}),
        ({"proxies": json.dumps(PROXIES)}, {"proxies": PROXIES}),
        (
            {"proxies": {"all://api.leadmagic.io": " proxy.example:3128 "}},
            {"proxies": {"all://api.leadmagic.io": "proxy.example:3128"}},
        ),
        ({"proxies": {"https": None, "http": ""}}, {"proxies": {"https": "", "http": ""}}),
        ({"proxies": {"https": "socks5h://proxy.example"}}, {"proxies": {"https": "socks5h://proxy.example"}}),
        ({"verify": "/ca.pem"}, {"verify": "/ca.pem"}),
        ({"verify": False}, {"verify": False}),
        ({"verify": "False"}, {"verify": False}),
        ({"verify": "true"}, {"verify": True}),
        ({"headers": HEADERS}, {"headers": HEADERS}),
        ({"headers": json.dumps(HEADERS)}, {"headers": HEADERS}),
        ({"headers": {"X-Tenant": " a b "}}, {"headers": {"X-Tenant": "a b"}}),
        *(({name: empty}, {}) for name in ("proxies", "verify", "headers") for empty in (None, "", " ")),
    ],
    ids=str,
)
def test_extra_sets_the_argument(connect, extra, used):
    default = {"proxies": {}, "verify": True, "headers": {}}
    assert [network_of(client) for client in clients_of(connect(extra=extra))] == [default | used] * 2


def test_connection_uri_sets_the_arguments(connect):
    uri = f"leadmagic://:{CANARY}@/?verify=%2Fca.pem&headers=%7B%22X-Tenant%22%3A%20%22a%22%7D"
    used = network_of(connect(uri).get_conn())
    assert (used["verify"], used["headers"]) == ("/ca.pem", {"X-Tenant": "a"})


def test_repr_of_hook_client_and_settings_shows_no_secret(connect):
    hook = connect(extra={"proxies": PROXIES, "headers": HEADERS})
    client = hook.get_conn()
    parts = (hook, client, client._transport, client._transport.network, client._transport._session, vars(hook))
    assert CANARY not in "".join(map(repr, parts))


class TestUnknownExtras:
    @pytest.mark.parametrize(
        ("name", "advice"),
        [
            ("timout", "did you mean 'timeout'?"),
            ("Time-Out", "did you mean 'timeout'?"),
            ("proxy", "did you mean 'proxies'?"),
            ("header", "did you mean 'headers'?"),
            ("verify_ssl", "did you mean 'verify'?"),
            ("allowHttp", "did you mean 'allow_http'?"),
            ("api_key", "the API key belongs in the password."),
            ("note", "the known extras are allow_http, headers, proxies, timeout, verify."),
        ],
    )
    def test_one_is_logged_once_with_the_closest_name_and_without_its_value(
        self, connect, logged, monkeypatch, name, advice
    ):
        monkeypatch.setattr("airflow_provider_leadmagic.hooks.client_arguments._reported", set())
        hook = connect(extra={name: CANARY})
        assert len(clients_of(hook)) == 2
        text = logged()
        assert text.count(f"Unknown extra {name!r} ignored: {advice} [connection 'lead']") == 1
        assert CANARY not in text

    def test_known_extras_are_not_logged(self, connect, logged):
        extra = {"timeout": 5, "allow_http": True, "proxies": PROXIES, "verify": True, "headers": HEADERS}
        clients_of(connect(extra=extra))
        assert "Unknown extra" not in logged()


class TestMisplacedValues:
    @pytest.mark.parametrize(
        "define",
        [
            pytest.param({"login": CANARY, "password": ""}, id="JSON"),
            pytest.param({"uri": f"leadmagic://{CANARY}@api.leadmagic.io"}, id="URI"),
        ],
    )
    def test_key_in_the_login_is_not_shown_and_the_message_names_the_password(self, connect, define):
        message = error_of(connect(**define))
        expected = "the password is empty; put the API key there, not in the login"
        assert message == f"Connection 'lead' cannot be used: {expected}."

    def test_login_beside_a_password_is_ignored(self, connect):
        assert connect(login="me").get_conn().base_url == "https://api.leadmagic.io"

    @pytest.mark.parametrize("host", ["https://api.leadmagic.io/v1", "api.leadmagic.io/V1/", "localhost:4010/lm/v1"])
    def test_host_that_ends_with_v1_is_rejected_with_advice(self, connect, host):
        message = error_of(connect(host=host))
        expected = "Connection 'lead' cannot be used: host (API base URL): leave out /v1, which the client adds"
        assert message == f"{expected}; got {host!r}."
