"""Tests of normalize_base_url, which decides which host receives the API key."""

from __future__ import annotations

import pytest

from airflow_provider_leadmagic.api.base_url import DEFAULT_BASE_URL, normalize_base_url
from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.exceptions import LeadMagicConfigurationError

API_KEY = "lm_a_key_that_is_not_real"


@pytest.mark.parametrize(
    ("given", "normalized"),
    [
        pytest.param("api.leadmagic.io", "https://api.leadmagic.io", id="host only"),
        pytest.param("https://api.leadmagic.io/", "https://api.leadmagic.io", id="trailing slash"),
        pytest.param("  https://api.leadmagic.io\n", "https://api.leadmagic.io", id="surrounding blanks"),
        pytest.param("HTTPS://API.LeadMagic.io", "https://api.leadmagic.io", id="upper case"),
        pytest.param("proxy.example:8443", "https://proxy.example:8443", id="host and port"),
        pytest.param("https://proxy.example/lead/magic//", "https://proxy.example/lead/magic", id="path"),
        pytest.param("localhost:8000", "http://localhost:8000", id="localhost"),
        pytest.param("127.0.0.1", "http://127.0.0.1", id="loopback address"),
        pytest.param("[::1]:8000", "http://[::1]:8000", id="IPv6 loopback"),
        pytest.param("https://localhost", "https://localhost", id="https on loopback"),
        pytest.param("[2001:db8::7]:443", "https://[2001:db8::7]:443", id="IPv6"),
    ],
)
def test_valid_address_is_normalized(given, normalized):
    assert normalize_base_url(given) == normalized


@pytest.mark.parametrize("given", ["https://api.leadmagic.io/v1", "api.leadmagic.io/V1//", "proxy.example/lm/v1"])
def test_path_that_the_client_adds_is_rejected_with_advice(given):
    with pytest.raises(LeadMagicConfigurationError, match=r"^base_url: leave out /v1, which the client adds; got '"):
        LeadMagicClient(API_KEY, given)


@pytest.mark.parametrize("path", ["v1x", "apiv1", "v1/lm", "v10"])
def test_similar_path_is_kept(path):
    assert normalize_base_url(f"proxy.example/{path}") == f"https://proxy.example/{path}"


@pytest.mark.parametrize(
    "given",
    [
        pytest.param("", id="empty"),
        pytest.param("https://", id="scheme only"),
        pytest.param("/v1", id="path only"),
        pytest.param("https:///v1", id="no host before the path"),
        pytest.param("api leadmagic io", id="spaces"),
        pytest.param("api.leadmagic.io\x00", id="control character"),
        pytest.param("api.leadmagic.io#top", id="fragment"),
        pytest.param("api.leadmagic.io:http", id="port not a number"),
        pytest.param("api.leadmagic.io:65536", id="port too high"),
        pytest.param("api.leadmagic.io:-1", id="port below zero"),
        pytest.param("api.leadmagic.io:0", id="port zero"),
        pytest.param("[::1", id="unclosed bracket"),
        pytest.param("::1", id="IPv6 without brackets"),
        pytest.param("ftp://api.leadmagic.io", id="another scheme"),
        pytest.param("file:///etc/passwd", id="file"),
        pytest.param("https://https://api.leadmagic.io", id="scheme twice"),
        pytest.param("https:/api.leadmagic.io", id="one slash"),
        pytest.param("https://api.leadmagic.io//v1", id="two slashes in the path"),
    ],
)
def test_invalid_address_is_rejected_with_its_value(given):
    with pytest.raises(LeadMagicConfigurationError) as caught:
        normalize_base_url(given, field="host")
    assert str(caught.value).startswith("host must ")
    assert repr(given) in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param("http://api.leadmagic.io", id="the API"),
        pytest.param("http://127.0.0.1.example.com", id="loopback address as subdomain"),
        pytest.param("http://localhost.example.com", id="localhost as subdomain"),
        pytest.param("http://0.0.0.0", id="all interfaces"),
        pytest.param("http://10.0.0.1", id="private network"),
        pytest.param("http://[2001:db8::7]", id="IPv6"),
        pytest.param("http://2130706433", id="loopback address as integer"),
    ],
)
def test_plain_http_is_rejected_except_for_loopback(given):
    with pytest.raises(LeadMagicConfigurationError, match=r"\(plain http exposes the API key\)"):
        normalize_base_url(given)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param("http://sandbox:4010", id="container"),
        pytest.param("http://host.docker.internal:4010", id="internal"),
        pytest.param("http://box.local", id="local"),
        pytest.param("http://leads.localhost", id="localhost"),
        pytest.param("http://leadmagic.test", id="test"),
        pytest.param("http://10.0.0.1", id="10.0.0.0/8"),
        pytest.param("http://172.17.0.2:4010", id="172.16.0.0/12"),
        pytest.param("http://192.168.1.5", id="192.168.0.0/16"),
        pytest.param("http://169.254.1.1", id="link-local"),
        pytest.param("http://[fd00::7]:4010", id="unique local IPv6"),
        pytest.param("http://[fe80::7]", id="link-local IPv6"),
    ],
)
def test_allow_http_accepts_plain_http_to_a_private_host(given):
    assert normalize_base_url(given, allow_http=True) == given
    with pytest.raises(LeadMagicConfigurationError, match="; for a test server, set allow_http to true; got "):
        normalize_base_url(given)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param("http://api.leadmagic.io", id="the API"),
        pytest.param("http://api.leadmagic.io.", id="trailing dot"),
        pytest.param("http://api\u3002leadmagic\u3002io", id="ideographic full stops"),
        pytest.param("http://sandbox.example.com", id="public name"),
        pytest.param("http://box.mylocal", id="ends like local, without the dot"),
        pytest.param("http://8.8.8.8", id="public address"),
        pytest.param("http://134744072", id="public address as one number"),
        pytest.param("http://0x8080808", id="public address as a hexadecimal number"),
        pytest.param("http://8.8.2056", id="public address in three parts"),
        pytest.param("http://0.0.0.0:4010", id="all interfaces"),
        pytest.param("http://172.32.0.1", id="beyond 172.16.0.0/12"),
        pytest.param("http://[::]:4010", id="all interfaces of IPv6"),
        pytest.param("http://[2606:4700::1]", id="public IPv6"),
        pytest.param("http://[::ffff:8.8.8.8]", id="public IPv4 within IPv6"),
        pytest.param("http://[2001:0:808:808::1]", id="public IPv4 within a Teredo address"),
    ],
)
def test_allow_http_does_not_accept_plain_http_to_a_public_host(given):
    message = r"^base_url must start with https:// \(plain http .*\); allow_http is for private hosts only; got "
    with pytest.raises(LeadMagicConfigurationError, match=message):
        normalize_base_url(given, allow_http=True)


def test_allow_http_does_not_change_the_default_scheme():
    assert normalize_base_url("sandbox:4010", allow_http=True) == "https://sandbox:4010"


@pytest.mark.parametrize("value", ["true", "no", 1, None], ids=repr)
def test_allow_http_must_be_a_boolean(value):
    with pytest.raises(LeadMagicConfigurationError, match=f"^allow_http must be true or false; got {value!r}$"):
        LeadMagicClient(API_KEY, "http://sandbox", allow_http=value)


def test_plain_http_as_default_scheme_is_rejected_except_for_loopback():
    with pytest.raises(LeadMagicConfigurationError, match=r"\(plain http exposes the API key\)"):
        normalize_base_url("api.leadmagic.io", scheme="http")


@pytest.mark.parametrize(
    "given",
    [
        pytest.param("https://user:hunter2secret@api.leadmagic.io", id="user and password"),
        pytest.param("user:hunter2secret@api.leadmagic.io", id="without scheme"),
        pytest.param("https://hunter2secret@api.leadmagic.io", id="user only"),
        pytest.param("http://user:hunter2secret@127.0.0.1", id="on loopback"),
        pytest.param("http://127.0.0.1:hunter2secret@evil.example", id="loopback address as user"),
        pytest.param("https://user:hunter2secret@api.leadmagic.io:99999", id="with a bad port"),
        pytest.param("https://user:hunter2secret@[::1", id="with a broken host"),
        pytest.param("https://user:hunter2secret@", id="without host"),
    ],
)
def test_user_info_is_rejected_and_not_shown(given):
    with pytest.raises(LeadMagicConfigurationError) as caught:
        normalize_base_url(given)
    assert "hunter2secret" not in str(caught.value)


def test_separate_port_is_added():
    assert normalize_base_url("127.0.0.1", port=8000) == "http://127.0.0.1:8000"


def test_port_in_the_address_takes_precedence():
    assert normalize_base_url("127.0.0.1:9000", port=8000) == "http://127.0.0.1:9000"


@pytest.mark.parametrize("port", [-1, 65536])
def test_separate_port_is_validated(port):
    with pytest.raises(LeadMagicConfigurationError):
        normalize_base_url("127.0.0.1", port=port)


def test_default_base_url_is_the_production_api():
    assert LeadMagicClient(API_KEY).base_url == DEFAULT_BASE_URL == "https://api.leadmagic.io"


def test_client_rejects_plain_http():
    with pytest.raises(LeadMagicConfigurationError, match=r"^base_url must start with https://"):
        LeadMagicClient(API_KEY, "http://api.leadmagic.io")


@pytest.mark.parametrize("base_url", [None, 5], ids=repr)
def test_base_url_that_is_not_text_is_rejected(base_url):
    with pytest.raises(LeadMagicConfigurationError, match="base_url"):
        LeadMagicClient(API_KEY, base_url)
