"""Tests that a web page in the user's browser can neither read nor change a sandbox."""

from __future__ import annotations

import socket

import pytest

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

CHANGES = [("POST", "reset"), ("POST", "unfreeze"), ("DELETE", "faults"), ("DELETE", "requests")]
HOSTS = ["localhost", "LOCALHOST:4010", "127.0.0.1", "127.0.0.1:4010", "[::1]", "[::1]:4010", "172.17.0.2:4010"]
UNKNOWN_HOSTS = ["rebound.example", "rebound.example:4010", "localhost.rebound.example", "127.0.0.1.rebound.example"]


@pytest.fixture
def ask(leadmagic_sandbox, session):
    """Send a request with the given headers, as a browser or another client does."""

    def ask(method, path, headers, **options):
        headers = {"X-API-Key": leadmagic_sandbox.api_key, **headers}
        return session.request(method, leadmagic_sandbox.url + path, headers=headers, timeout=5, **options)

    return ask


def error_of(response):
    error = response.json()["errors"][0]
    return response.status_code, error["code"], error["title"]


@pytest.mark.parametrize(("method", "name"), [*CHANGES, ("GET", "state")])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": ""},
    ],
    ids=str,
)
def test_a_control_refuses_requests_from_pages_of_other_sites(leadmagic_sandbox, ask, method, name, headers):
    leadmagic_sandbox.set_credits(7)
    leadmagic_sandbox.fail_next(status=503)
    status, code, title = error_of(ask(method, f"/_sandbox/{name}", headers))
    assert (status, code) == (403, "cross_site_request")
    assert (
        title
        == "A web page of another site cannot use the controls of the sandbox. Use curl or the Python class Sandbox."
    )
    assert leadmagic_sandbox.credits == 7
    assert ask("GET", "/v1/credits", {}).status_code == 503


@pytest.mark.parametrize(
    "headers",
    [{}, {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-origin", "Origin": "own"}, {"Origin": "own"}],
    ids=str,
)
def test_a_control_accepts_requests_of_its_own_site_and_of_clients_other_than_browsers(leadmagic_sandbox, ask, headers):
    headers = {name: leadmagic_sandbox.url if value == "own" else value for name, value in headers.items()}
    assert ask("POST", "/_sandbox/credits", headers, json={"set": 3}).status_code == 200
    assert leadmagic_sandbox.credits == 3


@pytest.mark.parametrize("path", ["/_sandbox/state", "/_sandbox/nowhere", "/v1/credits", "/nowhere"])
@pytest.mark.parametrize("host", UNKNOWN_HOSTS)
def test_a_host_name_that_may_be_rebound_is_refused_on_every_path(leadmagic_sandbox, ask, path, host):
    leadmagic_sandbox.fail_next("*", status=503)
    status, code, title = error_of(ask("GET", path, {"Host": host}))
    name = host.partition(":")[0]
    assert (status, code) == (421, "unknown_host")
    assert title == f"Unknown host name '{name}'. To accept it, start the sandbox with --allow-host {name}."
    assert leadmagic_sandbox.requests == []
    assert ask("GET", "/v1/credits", {}).status_code == 503


@pytest.mark.parametrize("path", ["/_sandbox/state", "/v1/credits"])
@pytest.mark.parametrize("host", HOSTS)
def test_localhost_and_ip_addresses_are_accepted_as_host(ask, path, host):
    assert ask("GET", path, {"Host": host}).status_code == 200


def test_the_api_behaves_as_the_contract_says_whatever_site_and_content_type_a_request_has(ask):
    headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"}
    lookup = b'{"full_name": "Jane Doe", "domain": "example.com"}'
    assert ask("GET", "/v1/credits", headers).status_code == 200
    assert ask("POST", "/v1/people/email-finder", headers, data=lookup).status_code == 200


@pytest.mark.parametrize("host", ["[::1", "", "user@", "a]b"])
def test_an_invalid_host_header_is_refused(ask, host):
    assert ask("GET", "/v1/credits", {"Host": host}).status_code in (400, 421)


@pytest.mark.parametrize("name", ["sandbox", "Sandbox"])
def test_an_allowed_host_name_is_accepted(session, name):
    with Sandbox(allow_hosts=[name]) as sandbox:
        statuses = {
            session.get(f"{sandbox.url}/_sandbox/state", headers={"Host": host}, timeout=5).status_code
            for host in ("sandbox:4010", "SANDBOX")
        }
        other = session.get(f"{sandbox.url}/_sandbox/state", headers={"Host": "other"}, timeout=5).status_code
    assert (statuses, other) == ({200}, 421)


def test_the_name_that_a_sandbox_listens_on_is_accepted(session, monkeypatch):
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **options: resolve("127.0.0.1", *rest, **options))
    monkeypatch.setattr("socket.create_server", lambda _, create=socket.create_server, **o: create(("127.0.0.1", 0)))
    with Sandbox(host="My-Machine") as sandbox:
        assert session.get(f"{sandbox.url}/_sandbox/state", timeout=5).status_code == 200


def test_an_empty_host_is_refused_even_if_the_sandbox_listens_on_an_empty_host(session):
    with Sandbox(host="") as sandbox:
        response = session.get(f"{sandbox.url}/_sandbox/state", headers={"Host": ""}, timeout=5)
    assert response.status_code == 421


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 415, id="none"),
        pytest.param({"Content-Type": "text/plain"}, 415, id="text"),
        pytest.param({"Content-Type": "application/x-www-form-urlencoded"}, 415, id="form"),
        pytest.param({"Content-Type": "application/json"}, 200, id="JSON"),
        pytest.param({"Content-Type": "Application/JSON; charset=utf-8"}, 200, id="JSON with its encoding"),
    ],
)
@pytest.mark.parametrize("is_chunked", [False, True], ids=["whole", "chunked"])
def test_a_control_takes_a_body_only_as_json(leadmagic_sandbox, ask, headers, status, is_chunked):
    body = b'{"set": 5}'
    response = ask("POST", "/_sandbox/credits", headers, data=iter([body]) if is_chunked else body)
    assert response.status_code == status
    assert leadmagic_sandbox.credits == (5 if status == 200 else 1000)
    if status == 415:
        assert error_of(response)[1:] == (
            "json_required",
            "Send JSON to the controls of the sandbox: add Content-Type: application/json.",
        )


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", ""])
def test_a_control_without_a_body_needs_no_content_type(leadmagic_sandbox, ask, content_type):
    leadmagic_sandbox.set_credits(5)
    assert ask("POST", "/_sandbox/reset", {"Content-Type": content_type}).status_code == 200
    assert leadmagic_sandbox.credits == 1000
