"""Airflow's log view cuts a line at about 110 characters: cause and advice come first, and the request comes last."""

from __future__ import annotations

import io
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_leadmagic.api import transport
from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.exceptions import LeadMagicError
from tests.hostile.certificates import self_signed, speaking_tls
from tests.support.log_view import LINE_LENGTH
from tests.support.raw_server import SILENCE, send
from tests.support.responses import BALANCE, BALANCE_RESPONSE, CHUNKED, CSV, JSON, OK, sized

OWNER = "connection 'leadmagic_default'"
PASSWORD, HOST = f"check the password of {OWNER}", f"check the host of {OWNER}"
LATER, TIMEOUT = f"retry later or {HOST}", f"retry later or increase the timeout of {OWNER}"

CREDITS, JOB, DOWNLOAD, PREVIEW = "/v1/credits", "/bulk/jobs/j1", "/bulk/jobs/j1/download", "/v1/batch/preview-cost"
RESULTS, JOBS, LOOKUP = "/bulk/jobs/j1/results", "/bulk/jobs", "/v1/people/profile-search"
CALLS: dict[str, Callable[[LeadMagicClient], object]] = {
    CREDITS: lambda client: client.get_credits(),
    JOB: lambda client: client.bulk.get("j1"),
    JOBS: lambda client: list(client.bulk.list()),
    RESULTS: lambda client: list(client.bulk.results("j1")),
    DOWNLOAD: lambda client: client.bulk.download("j1", io.BytesIO()),
    LOOKUP: lambda client: client.enrich("profile_search", profile_url="ada"),
    PREVIEW: lambda client: client.bulk.preview("email_validation", [{"email": "ada@example.com"}]),
}


@dataclass
class Network:
    """The ways in which a request can fail; each of its methods returns the base URL for a client."""

    sandbox: Any
    serve: Callable[..., Any]
    monkeypatch: pytest.MonkeyPatch
    port: int
    queue: str
    folder: Path

    def fault(self, path: str, **fault: Any) -> str:
        self.sandbox.fail_next(path, **fault)
        return str(self.sandbox.url)

    def script(self, *steps: bytes | float) -> str:
        return str(self.serve(send(*steps)).url)

    def limit(self, name: str, *steps: bytes) -> str:
        self.monkeypatch.setattr(transport, name, 1000)
        return self.script(*steps)

    def proxy(self, *steps: bytes, url: str | None = None) -> str:
        self.monkeypatch.setenv("HTTPS_PROXY", url or self.script(*steps))
        return "https://leadmagic.example"

    def untrusted(self) -> str:
        certificate = speaking_tls(self_signed(self.folder))
        return f"https://{self.serve(send(BALANCE_RESPONSE), tls=certificate).address}"

    def without_ca_certificates(self) -> str:
        self.monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/missing.pem")
        return "https://leadmagic.invalid"

    def unresolved(self) -> str:
        error = socket.gaierror(-2, "Name or service not known")
        self.monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: (_ for _ in ()).throw(error))
        return "https://leadmagic.invalid"

    def closed(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def network(leadmagic_sandbox, serve, monkeypatch, closed_port, full_queue, tmp_path) -> Network:
    return Network(leadmagic_sandbox, serve, monkeypatch, closed_port, full_queue, tmp_path)


def fault(path: str = CREDITS, **options: Any) -> Callable[[Network], str]:
    return lambda network: network.fault(path, **options)


def script(*steps: bytes | float) -> Callable[[Network], str]:
    return lambda network: network.script(*steps)


def status(line: bytes, *headers: bytes) -> Callable[[Network], str]:
    return script(sized(b"{}", b"HTTP/1.1 " + line + b"\r\n" + b"".join(header + b"\r\n" for header in headers)))


ERROR_RESPONSES = [
    ("400", CREDITS, fault(status=400), "Request rejected (400 validation_error)", "Request validation failed. Check"),
    ("401", CREDITS, fault(status=401), "API key rejected (401 invalid_api_key)", PASSWORD),
    ("401 without a body", CREDITS, status(b"401 Unauthorized"), "API key rejected (401)", PASSWORD),
    (
        "402",
        CREDITS,
        fault(status=402),
        "Not enough credits (402 insufficient_credits)",
        f"top up the account of {OWNER}",
    ),
    (
        "403",
        CREDITS,
        fault(status=403),
        "Access denied (403 insufficient_permissions)",
        f"check the plan and role of {OWNER}",
    ),
    ("404", CREDITS, fault(status=404), "Not found (404 resource_not_found)", HOST),
    (
        "404 for a bulk job",
        JOB,
        fault(JOB, status=404),
        "Not found (404 resource_not_found)",
        f"check the job ID and the host of {OWNER}",
    ),
    (
        "404 for a lookup",
        LOOKUP,
        fault(LOOKUP, status=404),
        "Not found (404 resource_not_found)",
        f"check the record and the host of {OWNER}",
    ),
    ("409", CREDITS, fault(status=409), "Request rejected (409 conflict)", "Resource conflict detected."),
    ("429", CREDITS, fault(status=429), "Rate limit exceeded (429 rate_limit_exceeded)", "retry later"),
    (
        "429 with seconds",
        CREDITS,
        fault(retry_after=42),
        "Rate limit exceeded (429 rate_limit_exceeded)",
        "retry in 42 s",
    ),
    ("500", CREDITS, fault(status=500), "Server error (500 INTERNAL_ERROR)", "retry later"),
    ("503", CREDITS, fault(status=503, retry_after=7), "Server error (503 service_unavailable)", "retry in 7 s"),
    ("502 and a page", CREDITS, fault(status=502, body="<html>"), "Server error (502)", "retry later"),
    ("400 without a body", CREDITS, fault(status=400, body=""), "Request rejected (400)", "no explanation given"),
]
UNEXPECTED_RESPONSES = [
    (
        "redirect",
        CREDITS,
        fault(redirect_to="https://example.com/"),
        "Redirected (302)",
        f"correct the host of {OWNER}",
    ),
    ("304", CREDITS, status(b"304 Not Modified"), "Unexpected status (304)", HOST),
    ("206", CREDITS, status(b"206 Partial Content"), "Unexpected partial content (206)", LATER),
    ("encoding", CREDITS, status(b"200 OK", b"Content-Encoding: br"), "Unexpected content encoding (200)", LATER),
    ("not JSON", CREDITS, fault(body="<html>"), "Response is not JSON (200)", LATER),
    ("not an object", RESULTS, fault(RESULTS, body="[]"), "Response is not a JSON object (200)", HOST),
    ("not CSV", DOWNLOAD, fault(DOWNLOAD, body="<html>", content_type="text/html"), "Response is not CSV (200)", LATER),
    (
        "duplicate name",
        CREDITS,
        fault(body='{"credits": 1, "credits": 2}'),
        "Response has a JSON object with a duplicate name",
        HOST,
    ),
    (
        "too large",
        CREDITS,
        lambda network: network.limit("MAX_BODY_BYTES", sized(b" " * 1001)),
        "Response over 1,000 bytes",
        LATER,
    ),
    (
        "download too large",
        DOWNLOAD,
        lambda network: network.limit("MAX_DOWNLOAD_BYTES", sized(b" " * 1001, CSV)),
        "Download over 1,000 bytes",
        HOST,
    ),
    ("headers", CREDITS, script(OK, b"X-Header: 1\r\n" * 200), "Response headers too long or too many", LATER),
]
INVALID_CONTENT = [
    ("balance", CREDITS, fault(body="{}"), "Invalid balance", "`credits` is missing. C" + HOST[1:]),
    (
        "preview",
        PREVIEW,
        fault(PREVIEW, body="{}"),
        "Invalid cost preview",
        "`totalItems` or `totalCredits` is missing.",
    ),
    ("job", JOB, fault(JOB, body="{}"), "Invalid bulk job", "`status` is missing. C" + HOST[1:]),
    ("list of jobs", JOBS, fault(JOBS, body="{}"), "Invalid page", "`jobs` is not a list of objects. C" + HOST[1:]),
    ("page", RESULTS, fault(RESULTS, body="{}"), "Invalid page", "`rows` is not a list of objects. C" + HOST[1:]),
]
LOST_RESPONSES = [
    ("silence", CREDITS, script(*SILENCE), "No response within 0.3 s", TIMEOUT),
    ("stops", CREDITS, script(BALANCE_RESPONSE[:-3], *SILENCE), "Response not complete within 0.3 s", TIMEOUT),
    ("slow download", DOWNLOAD, script(CSV + b"\r\n", *SILENCE), "Download slower than 64 KiB in 0.3 s", TIMEOUT),
    ("closed", CREDITS, script(), "Connection closed by the server", LATER),
    ("cut short", CREDITS, script(sized(BALANCE)[:-3]), "Response cut short", LATER),
    ("chunk cut short", CREDITS, script(JSON + CHUNKED + b"9\r\n{"), "Response cut short", LATER),
    ("not HTTP", CREDITS, script(b"SSH-2.0-OpenSSH_9.6\r\n"), "Invalid HTTP response", LATER),
    (
        "broken compression",
        CREDITS,
        script(sized(b"not gzip", JSON + b"Content-Encoding: gzip\r\n")),
        "Invalid compression in the response",
        LATER,
    ),
]
UNSENT_REQUESTS = [
    ("connection refused", CREDITS, Network.closed, "Connection refused", HOST),
    ("connection timeout", CREDITS, lambda network: network.queue, "No connection within 0.3 s", HOST),
    ("unknown host name", CREDITS, Network.unresolved, "Host name not resolved", HOST),
    (
        "invalid host name",
        CREDITS,
        lambda _: "https://*.leadmagic.io",
        "Invalid host name",
        f"correct the host of {OWNER}",
    ),
    ("certificate", CREDITS, Network.untrusted, "TLS certificate not trusted", f"{HOST} and the CA certificates"),
    (
        "CA certificates",
        CREDITS,
        Network.without_ca_certificates,
        "CA certificates cannot be loaded",
        "correct REQUESTS_CA_BUNDLE",
    ),
    (
        "invalid proxy",
        CREDITS,
        lambda network: network.proxy(url="http://"),
        "Invalid proxy settings",
        "correct HTTPS_PROXY",
    ),
    (
        "plain HTTP instead of TLS",
        CREDITS,
        lambda network: network.script(BALANCE_RESPONSE).replace("http:", "https:"),
        "TLS connection failed",
        LATER,
    ),
    (
        "proxy does not respond",
        CREDITS,
        lambda network: network.proxy(*SILENCE),
        "Proxy did not open a connection",
        f"check the proxy settings and the host of {OWNER}",
    ),
    (
        "proxy rejects the host",
        CREDITS,
        lambda network: network.proxy(b"HTTP/1.1 403 Forbidden\r\n\r\n"),
        "Proxy did not open a connection",
        f"check the proxy settings and the host of {OWNER}",
    ),
    (
        "proxy unreachable",
        CREDITS,
        lambda network: network.proxy(url=network.closed()),
        "Proxy unreachable",
        "check the proxy settings",
    ),
]
TABLE = [*ERROR_RESPONSES, *UNEXPECTED_RESPONSES, *INVALID_CONTENT, *LOST_RESPONSES, *UNSENT_REQUESTS]


@pytest.mark.parametrize(("path", "provoke", "cause", "advice"), [pytest.param(*row, id=name) for name, *row in TABLE])
def test_every_message_states_cause_and_advice_within_110_characters(network, path, provoke, cause, advice):
    url = provoke(network)
    with (
        LeadMagicClient(network.sandbox.api_key, url, timeout=0.3, max_attempts=1, owner=OWNER) as client,
        pytest.raises(LeadMagicError) as caught,
    ):
        CALLS[path](client)
    message = str(caught.value)
    assert len(f"{cause}: {advice}") <= LINE_LENGTH
    assert message.startswith(f"{cause}: {advice}")
    assert re.fullmatch(rf".*\. \[(GET|POST) {re.escape(url + path)}(\?\S+)?(, request id \S+)?\]", message)


@pytest.mark.parametrize(("path", "provoke"), [pytest.param(*row[:2], id=name) for name, *row in UNSENT_REQUESTS])
def test_call_whose_requests_were_not_sent_was_certainly_not_executed(network, path, provoke):
    with (
        LeadMagicClient(network.sandbox.api_key, provoke(network), timeout=0.3, max_attempts=1) as client,
        pytest.raises(LeadMagicError) as caught,
    ):
        CALLS[path](client)
    assert not caught.value.maybe_executed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            lambda network: {"proxies": {"https": network.script(b"HTTP/1.1 407 Password\r\n\r\n")}},
            f"Proxy did not open a connection: check the proxies and host of {OWNER}",
            id="proxy rejects the password",
        ),
        pytest.param(
            lambda network: {"proxies": {"https": network.closed()}},
            f"Proxy unreachable: check the proxies of {OWNER}",
            id="proxy unreachable",
        ),
        pytest.param(
            lambda _: {"verify": "/missing.pem"},
            f"CA certificates cannot be loaded: correct the verify setting of {OWNER}",
            id="CA certificates",
        ),
    ],
)
def test_a_setting_of_the_connection_is_named_within_110_characters(network, options, message):
    with (
        LeadMagicClient("key", "https://leadmagic.invalid", owner=OWNER, max_attempts=1, **options(network)) as client,
        pytest.raises(LeadMagicError) as caught,
    ):
        client.get_credits()
    assert len(message) <= LINE_LENGTH
    assert str(caught.value).startswith(f"{message}. ")


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        pytest.param({"status": 401}, "check the client's api_key.", id="key"),
        pytest.param({"status": 404}, "check the client's base_url.", id="address"),
        pytest.param({"delay": 0.6}, "retry later or increase the client's timeout.", id="timeout"),
    ],
)
def test_without_a_connection_the_advice_names_the_argument(network, options, advice):
    url = network.fault(CREDITS, **options)
    with (
        LeadMagicClient(network.sandbox.api_key, url, timeout=0.3, max_attempts=1) as client,
        pytest.raises(LeadMagicError, match=re.escape(f": {advice} ")),
    ):
        client.get_credits()
