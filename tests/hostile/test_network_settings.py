"""Tests of ``proxies``, ``verify`` and ``headers`` with a real proxy and a server whose certificate is private."""

from __future__ import annotations

import json
import logging
import warnings
from typing import Any

import pytest
import urllib3

from airflow_provider_leadmagic.exceptions import (
    LeadMagicAuthenticationError,
    LeadMagicConfigurationError,
    LeadMagicConnectionError,
)
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from tests.hostile.certificates import self_signed, speaking_tls
from tests.hostile.conftest import API_KEY
from tests.support.forward_proxy import ForwardProxy
from tests.support.raw_server import send
from tests.support.responses import BALANCE_RESPONSE, OK, sized
from tests.support.sensor_runner import MODES, run_to_end
from tests.unit.sensors.conftest import make_sensor  # noqa: F401 - a fixture
from tests.unit.test_secrets import all_log_text, all_text_of, local_variables_of

PASSWORD, ESCAPED = "pass/word@5f0c9b7e", "pass%2Fword%405f0c9b7e"
TOKEN = "gateway-5f0c9b7e2d1a"
#: Variables that could make a test use a proxy or certificates of the machine.
VARIABLES = ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
#: Seconds for requests that succeed, also on a busy machine.
PATIENCE = 10


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def certificate(tmp_path):
    """Return a file with a certificate of leadmagic.example and 127.0.0.1, and its key."""
    return str(self_signed(tmp_path, names=("leadmagic.example", "127.0.0.1")))


@pytest.fixture
def server(serve, certificate):
    """Return a server that has this certificate."""
    return serve(send(BALANCE_RESPONSE), tls=speaking_tls(certificate))


@pytest.fixture
def url(server):
    """Return the URL of the server under a name that only the proxy resolves."""
    return f"https://leadmagic.example:{server.address.partition(':')[2]}"


@pytest.fixture
def proxy_with():
    """Return a function that starts a proxy."""
    proxies: list[ForwardProxy] = []

    def start(**options: Any) -> ForwardProxy:
        proxies.append(ForwardProxy(**options))
        return proxies[-1]

    yield start
    for proxy in proxies:
        proxy.stop()


@pytest.fixture
def proxy(proxy_with):
    """Return a proxy that requires a password."""
    return proxy_with(credentials=f"user:{PASSWORD}")


def address_of(proxy, scheme: str = "http", password: str = ESCAPED) -> str:
    return f"{scheme}://user:{password}@{proxy.address}"


def connect(monkeypatch, url: str, **extra: Any) -> LeadMagicHook:
    connection = {"conn_type": "leadmagic", "password": API_KEY, "host": url, "extra": {"timeout": PATIENCE, **extra}}
    monkeypatch.setenv("AIRFLOW_CONN_LEAD", json.dumps(connection))
    return LeadMagicHook("lead", max_attempts=1)


class TestProxies:
    def test_proxy_with_a_password_forwards_the_request_and_learns_nothing_of_it(
        self, monkeypatch, url, server, proxy, certificate
    ):
        hook = connect(monkeypatch, url, proxies={"https": address_of(proxy)}, verify=certificate)
        assert hook.get_credits().credits == 5
        [tunnel], [request] = proxy.requests, server.requests
        assert tunnel.startswith(b"CONNECT leadmagic.example:")
        assert API_KEY.encode() not in tunnel
        assert API_KEY.encode() in request
        assert b"proxy-authorization" not in request.lower()

    def test_json_text_of_a_form_works_like_an_object(self, monkeypatch, url, proxy, certificate):
        proxies = json.dumps({"https": address_of(proxy)})
        assert connect(monkeypatch, url, proxies=proxies, verify=certificate).get_credits().credits == 5
        assert len(proxy.requests) == 1

    def test_client_without_airflow_accepts_the_same(self, client_of, url, proxy, certificate):
        options = {"proxies": {"https": address_of(proxy)}, "verify": certificate, "timeout": PATIENCE}
        assert client_of(url, **options).get_credits().credits == 5
        assert len(proxy.requests) == 1

    @pytest.mark.skipif(urllib3.__version__.startswith("1."), reason="urllib3 1 uses the default CA certificates")
    def test_proxy_with_an_https_address_and_a_private_certificate_works(self, client_of, url, proxy_with, certificate):
        proxy = proxy_with(credentials=f"user:{PASSWORD}", tls=speaking_tls(certificate))
        options = {"proxies": {"https": address_of(proxy, "https")}, "verify": certificate, "timeout": PATIENCE}
        assert client_of(url, **options).get_credits().credits == 5

    @pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"])
    @pytest.mark.parametrize("name", ["https", "all"])
    def test_environment_variables_do_not_apply_to_a_client_with_proxies(
        self, monkeypatch, client_of, url, proxy, certificate, closed_port, variable, name
    ):
        monkeypatch.setenv(
            variable, "leadmagic.example" if variable == "NO_PROXY" else f"http://127.0.0.1:{closed_port}"
        )
        options = {"proxies": {name: address_of(proxy)}, "verify": certificate, "timeout": PATIENCE}
        assert client_of(url, **options).get_credits().credits == 5
        assert len(proxy.requests) == 1

    @pytest.mark.parametrize("none", [None, ""], ids=repr)
    def test_no_address_means_no_proxy(
        self, monkeypatch, client_of, url, server, certificate, closed_port, resolve_container, none
    ):
        resolve_container("leadmagic.example")
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{closed_port}")
        options = {"proxies": {"https": none}, "verify": certificate, "timeout": PATIENCE}
        assert client_of(url, **options).get_credits().credits == 5

    @pytest.mark.parametrize("proxies", [None, {}], ids=repr)
    def test_environment_variables_apply_without_proxies(
        self, monkeypatch, client_of, url, proxy, certificate, proxies
    ):
        monkeypatch.setenv("HTTPS_PROXY", address_of(proxy))
        assert client_of(url, proxies=proxies, verify=certificate, timeout=PATIENCE).get_credits().credits == 5
        assert len(proxy.requests) == 1

    def test_no_proxy_applies_without_proxies(self, monkeypatch, client_of, url, proxy, certificate, resolve_container):
        resolve_container("leadmagic.example")
        monkeypatch.setenv("HTTPS_PROXY", address_of(proxy))
        monkeypatch.setenv("NO_PROXY", ".example")
        assert client_of(url, verify=certificate, timeout=PATIENCE).get_credits().credits == 5
        assert proxy.requests == []

    def test_plain_http_does_not_use_a_proxy(self, client_of, serve, proxy):
        server = serve(send(BALANCE_RESPONSE))
        proxies = {"http": address_of(proxy), "all": address_of(proxy)}
        assert client_of(server.url, proxies=proxies, timeout=PATIENCE).get_credits().credits == 5
        assert proxy.requests == []

    @pytest.mark.parametrize(
        ("address", "message"),
        [
            pytest.param(
                "http://user:wrong-5f0c9b7e@{proxy}",
                "Proxy did not open a connection: check the proxies and host of connection 'lead'. ",
                id="wrong password",
            ),
            pytest.param(
                f"http://user:{ESCAPED}@127.0.0.1:{{closed}}",
                "Proxy unreachable: check the proxies of connection 'lead'. ",
                id="unreachable",
            ),
        ],
    )
    def test_failure_of_the_proxy_names_the_setting_and_no_password(
        self, monkeypatch, caplog, url, server, proxy, closed_port, address, message
    ):
        caplog.set_level(logging.DEBUG)
        proxies = {"https": address.format(proxy=proxy.address, closed=closed_port)}
        hook = connect(monkeypatch, url, proxies=proxies)
        with pytest.raises(LeadMagicConnectionError) as caught:
            hook.get_credits()
        assert str(caught.value).startswith(message)
        assert not caught.value.request_sent
        assert server.requests == []
        assert "5f0c9b7e" not in all_text_of(caught.value) + local_variables_of(caught.value) + all_log_text(caplog)

    def test_success_logs_no_password(self, monkeypatch, caplog, url, proxy, certificate):
        caplog.set_level(logging.DEBUG)
        hook = connect(monkeypatch, url, proxies={"https": address_of(proxy)}, verify=certificate)
        client = hook.get_conn()
        client.get_credits()
        parts = (hook, client, client._transport, client._transport.network, client._transport._session)
        assert "5f0c9b7e" not in all_log_text(caplog) + "".join(map(repr, parts))
        assert "urllib3" in caplog.text

    def test_untrusted_certificate_of_the_proxy_names_the_setting(
        self, monkeypatch, url, server, proxy_with, certificate
    ):
        if urllib3.__version__.startswith("1."):
            pytest.skip("urllib3 1 does not say whose certificate it is")
        proxy = proxy_with(tls=speaking_tls(certificate))
        hook = connect(monkeypatch, url, proxies={"https": f"https://{proxy.address}"})
        with pytest.raises(LeadMagicConfigurationError) as caught:
            hook.get_credits()
        expected = "TLS certificate not trusted: check the proxies of connection 'lead' and the CA certificates. "
        assert str(caught.value).startswith(expected)
        assert server.requests == []

    def test_socks_without_its_package_is_explained(self, monkeypatch, url):
        monkeypatch.setattr("requests.adapters.SOCKSProxyManager", _missing_socks)
        hook = connect(monkeypatch, url, proxies={"https": "socks5h://127.0.0.1:1080"})
        with pytest.raises(LeadMagicConfigurationError) as caught:
            hook.get_credits()
        summary, reason = str(caught.value).split(". ")[:2]
        assert summary == "Invalid proxy settings: correct the proxies of connection 'lead'"
        assert reason == "SOCKS needs the Python package PySocks"


class TestVerify:
    def test_certificate_in_the_file_is_trusted(self, monkeypatch, server, certificate):
        assert connect(monkeypatch, f"https://{server.address}", verify=certificate).get_credits().credits == 5

    @pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
    def test_the_file_comes_before_environment_variables(
        self, monkeypatch, client_of, url, server, certificate, resolve_container, variable
    ):
        resolve_container("leadmagic.example")
        monkeypatch.setenv(variable, "/missing.pem")
        assert client_of(url, verify=certificate, timeout=PATIENCE).get_credits().credits == 5

    @pytest.mark.parametrize("verify", [True, "true", "", None], ids=repr)
    def test_true_or_nothing_keeps_the_environment_variables(
        self, monkeypatch, url, server, certificate, resolve_container, verify
    ):
        resolve_container("leadmagic.example")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate)
        assert connect(monkeypatch, url, verify=verify).get_credits().credits == 5

    def test_ssl_cert_file_is_not_read(self, monkeypatch, client_of, url, server, certificate, resolve_container):
        resolve_container("leadmagic.example")
        monkeypatch.setenv("SSL_CERT_FILE", certificate)
        with pytest.raises(LeadMagicConfigurationError, match=r"^TLS certificate not trusted: "):
            client_of(url, timeout=PATIENCE).get_credits()

    @pytest.mark.parametrize("verify", [False, "false", "False"], ids=repr)
    def test_false_accepts_any_certificate_and_each_client_logs_a_warning(self, monkeypatch, logged, server, verify):
        url = f"https://{server.address}"
        for _ in range(2):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
                assert connect(monkeypatch, url, verify=verify).get_credits().credits == 5
        warning = f"Certificate of {url} is not checked: set verify to a file of CA certificates. [connection 'lead']"
        assert logged().count(warning) == 2

    def test_false_is_not_replaced_by_environment_variables(
        self, monkeypatch, client_of, url, server, resolve_container
    ):
        resolve_container("leadmagic.example")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/missing.pem")
        with pytest.warns(urllib3.exceptions.InsecureRequestWarning):
            assert client_of(url, verify=False, timeout=PATIENCE).get_credits().credits == 5

    @pytest.mark.parametrize("extra", [{}, {"verify": True}, {"verify": "/missing.pem"}], ids=str)
    def test_a_client_that_checks_certificates_logs_no_warning(self, monkeypatch, logged, extra):
        connect(monkeypatch, "https://leadmagic.example", **extra).get_conn()
        assert "not checked" not in logged()


PROBLEMS = [
    pytest.param(
        lambda _: "/missing/company.pem",
        "CA certificates cannot be loaded: correct the verify setting of connection 'lead'. "
        "No such file or directory: /missing/company.pem. [GET https://127.0.0.1:",
        id="file does not exist",
    ),
    pytest.param(
        lambda folder: str(self_signed(folder, names=("other.example",))),
        "TLS certificate not trusted: check the host of connection 'lead' and the CA certificates. Reason: ",
        id="certificate is not in the file",
    ),
]


class TestConfigurationErrors:
    @pytest.mark.parametrize(("verify", "message"), PROBLEMS)
    def test_it_names_file_and_host_and_is_not_retried(self, monkeypatch, server, tmp_path, sleeps, verify, message):
        (tmp_path / "other").mkdir()
        path = verify(tmp_path / "other")
        hook = connect(monkeypatch, f"https://{server.address}", verify=path)
        hook.max_attempts = 3
        with pytest.raises(LeadMagicConfigurationError) as caught:
            hook.get_credits()
        assert str(caught.value).startswith(message)
        assert path in str(caught.value)
        assert str(caught.value).endswith(f"[GET https://{server.address}/v1/credits]")
        assert (caught.value.transient, server.requests, sleeps) == (False, [], [])

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize(("verify", "message"), PROBLEMS)
    def test_it_ends_a_sensor_at_once(
        self,
        monkeypatch,
        server,
        tmp_path,
        make_sensor,  # noqa: F811
        mode,
        verify,
        message,
    ):
        (tmp_path / "other").mkdir()
        connect(monkeypatch, f"https://{server.address}", verify=verify(tmp_path / "other"))
        outcome = run_to_end(make_sensor(leadmagic_conn_id="lead", minimum_credits=5, **MODES[mode]))
        assert (outcome.state, outcome.error) == ("failed", "LeadMagicConfigurationError"), outcome.message
        assert message in outcome.message


class TestHeaders:
    def test_they_are_sent_to_the_server_with_each_request(self, monkeypatch, serve):
        server = serve(send(BALANCE_RESPONSE))
        headers = {"X-Gateway-Token": TOKEN, "User-Agent": "company/1"}
        assert connect(monkeypatch, server.url, headers=headers).get_credits().credits == 5
        [request] = server.requests
        assert f"X-Gateway-Token: {TOKEN}\r\n".encode() in request
        assert b"User-Agent: company/1\r\n" in request
        assert f"X-API-Key: {API_KEY}\r\n".encode() in request

    def test_the_proxy_does_not_receive_them(self, client_of, url, server, proxy, certificate):
        options = {"proxies": {"https": address_of(proxy)}, "verify": certificate, "timeout": PATIENCE}
        client_of(url, headers={"X-Gateway-Token": TOKEN}, **options).get_credits()
        assert TOKEN.encode() not in proxy.requests[0]
        assert TOKEN.encode() in server.requests[0]

    @pytest.mark.parametrize("value", [TOKEN, f"Bearer {TOKEN}"])
    def test_a_value_that_a_response_quotes_is_hidden(self, monkeypatch, caplog, serve, value):
        caplog.set_level(logging.DEBUG)
        body = json.dumps({"title": f"Gateway: {TOKEN} is unknown", "detail": TOKEN}).encode()
        server = serve(send(sized(body, OK.replace(b"200 OK", b"401 Unauthorized"))))
        hook = connect(monkeypatch, server.url, headers={"X-Gateway": value})
        with pytest.raises(LeadMagicAuthenticationError) as caught:
            hook.get_credits()
        assert "Gateway: *** is unknown" in str(caught.value)
        assert TOKEN not in all_text_of(caught.value) + local_variables_of(caught.value) + all_log_text(caplog)


def _missing_socks(*_args: object, **_options: object) -> None:
    from requests.exceptions import InvalidSchema

    raise InvalidSchema("Missing dependencies for SOCKS support.")
