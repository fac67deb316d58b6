"""Tests that the API key is sent to LeadMagic only, and appears in no message."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import suppress

import pytest

from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.exceptions import LeadMagicConfigurationError, LeadMagicError, LeadMagicResponseError
from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from tests.support.responses import BALANCE_RESPONSE

CANARY = "lm_canary/5f0c9b7e2d1a4c83"
LEAD = {"full_name": "Ada Lovelace", "domain": "example.com"}


@pytest.fixture(scope="module")
def _sandbox_with_canary() -> Iterator[Sandbox]:
    with Sandbox(api_key=CANARY) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox_with_canary(_sandbox_with_canary) -> Sandbox:
    """Return a sandbox whose API key is the canary."""
    _sandbox_with_canary.reset()
    return _sandbox_with_canary


@pytest.fixture
def canary_client(sandbox_with_canary, sleeps) -> Iterator[LeadMagicClient]:
    """Return a client whose API key is the canary."""
    with LeadMagicClient(CANARY, sandbox_with_canary.url, max_attempts=2, timeout=5) as client:
        yield client


def all_text_of(error: BaseException) -> str:
    """Return all text of an error, of its attributes, and of its causes and contexts."""
    texts, current = [], error
    while current is not None:
        texts += [str(current), repr(current), repr(current.args), repr(vars(current))]
        texts += traceback.format_exception(current)
        current = current.__cause__ or current.__context__
    return "\n".join(texts)


def all_log_text(caplog: pytest.LogCaptureFixture) -> str:
    return caplog.text + "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 400}, id="400"),
        pytest.param({"status": 401}, id="401"),
        pytest.param({"status": 402}, id="402"),
        pytest.param({"status": 403}, id="403"),
        pytest.param({"status": 404, "flat": True}, id="404"),
        pytest.param({"retry_after": 1}, id="429"),
        pytest.param({"status": 500}, id="500"),
        pytest.param({"drop": True}, id="dropped"),
        pytest.param({"truncate": True}, id="cut short"),
        pytest.param({"redirect_to": f"https://example.com/?key={CANARY}"}, id="redirect"),
        pytest.param({"body": "<html>"}, id="HTML"),
        pytest.param({"body": '{"credits": "many"}'}, id="bad credits"),
        pytest.param({"status": 401, "body": f'{{"title": "Key {CANARY} is unknown"}}'}, id="echoed in the title"),
        pytest.param(
            {
                "status": 400,
                "body": f'{{"errors": [{{"detail": "{CANARY}", "action": "{CANARY}", "docs": "{CANARY}"}}]}}',
            },
            id="echoed in other fields",
        ),
        pytest.param(
            {"status": 400, "body": f'{{"code": "{CANARY}", "trace": {{"request_id": "{CANARY}"}}}}'},
            id="echoed as code and request id",
        ),
        pytest.param({"body": f'{{"credits": "{CANARY}"}}'}, id="echoed as credits"),
        pytest.param(
            {"status": 401, "body": '{"title": "Key ' + CANARY.replace("/", "\\/") + ' is unknown"}'},
            id="echoed with an escaped slash",
        ),
        pytest.param(
            {"status": 401, "body": '{"title": "Key ' + CANARY.replace("_", "\\u005f") + ' is unknown"}'},
            id="echoed with an escaped letter",
        ),
        pytest.param({"status": 400, "body": "{}", "headers": {"X-Request-Id": CANARY}}, id="echoed as request id"),
        pytest.param({"body": "<html>", "content_type": f"text/{CANARY}"}, id="echoed as content type"),
        pytest.param({"retry_after": CANARY}, id="echoed as Retry-After"),
    ],
)
def test_failure_does_not_contain_the_key(canary_client, sandbox_with_canary, caplog, fault):
    caplog.set_level(logging.DEBUG)
    sandbox_with_canary.fail_next(**fault, times=None)
    with pytest.raises(LeadMagicError) as caught:
        canary_client.get_credits()
    assert CANARY not in all_text_of(caught.value)
    assert CANARY not in all_log_text(caplog)
    assert "urllib3" in caplog.text


def test_timeout_does_not_contain_the_key(sandbox_with_canary, caplog):
    caplog.set_level(logging.DEBUG)
    sandbox_with_canary.fail_next(delay=0.5)
    with (
        LeadMagicClient(CANARY, sandbox_with_canary.url, timeout=0.1, max_attempts=1) as client,
        pytest.raises(LeadMagicError) as caught,
    ):
        client.get_credits()
    assert CANARY not in all_text_of(caught.value) + all_log_text(caplog)


def test_refused_connection_does_not_contain_the_key(closed_port, caplog):
    caplog.set_level(logging.DEBUG)
    with (
        LeadMagicClient(CANARY, f"http://127.0.0.1:{closed_port}", max_attempts=1) as client,
        pytest.raises(LeadMagicError) as caught,
    ):
        client.get_credits()
    assert CANARY not in all_text_of(caught.value) + all_log_text(caplog)


def test_success_does_not_contain_the_key(canary_client, caplog):
    caplog.set_level(logging.DEBUG)
    balance = canary_client.refresh_credits()
    result = canary_client.enrich("email_finder", **LEAD)
    assert canary_client.check_health()
    assert " returned 200 in " in caplog.text
    assert CANARY not in all_log_text(caplog) + repr(balance) + repr(result)


def test_key_echoed_in_a_balance_is_hidden(canary_client, sandbox_with_canary):
    sandbox_with_canary.fail_next(body=f'{{"credits": 5, "credit_freeze_message": "key {CANARY} is frozen"}}')
    assert canary_client.get_credits().freeze_message == "key *** is frozen"


def test_repr_of_client_and_its_parts_does_not_contain_the_key(canary_client):
    parts = [
        canary_client,
        canary_client._transport,
        canary_client._transport._session,
        canary_client._transport._session.auth,
        canary_client._calls,
    ]
    assert CANARY not in "".join(repr(part) for part in parts)
    assert CANARY not in repr(dict(canary_client._transport._session.headers))


@pytest.mark.parametrize(
    "api_key",
    [
        pytest.param(f"{CANARY}\nX-Evil: 1", id="newline"),
        pytest.param(f"a\r{CANARY}", id="carriage return"),
        pytest.param(f"{CANARY} {CANARY}", id="space"),
        pytest.param(f"{CANARY}\t1", id="tab"),
        pytest.param(f"{CANARY}\x00", id="null"),
        pytest.param(f"{CANARY}ä", id="not ASCII"),
        pytest.param(f"{CANARY}\u200b", id="zero-width space"),
        pytest.param(f"“{CANARY}”", id="typographic quotes"),
    ],
)
def test_key_that_is_invalid_in_a_header_is_rejected_and_not_shown(api_key):
    with pytest.raises(LeadMagicConfigurationError, match="the API key contains") as caught:
        LeadMagicClient(api_key)
    assert CANARY not in str(caught.value) + repr(caught.value)


class TestOtherHosts:
    def test_redirect_does_not_receive_the_key(self, canary_client, sandbox_with_canary, leadmagic_sandbox):
        sandbox_with_canary.fail_next(redirect_to=f"{leadmagic_sandbox.url}/v1/credits")
        with pytest.raises(LeadMagicResponseError):
            canary_client.get_credits()
        assert [request.api_key_sent for request in sandbox_with_canary.requests] == [True]
        assert leadmagic_sandbox.requests == []

    def test_proxy_for_plain_http_does_not_receive_the_key(
        self, canary_client, sandbox_with_canary, leadmagic_sandbox, monkeypatch
    ):
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", leadmagic_sandbox.url)
        with suppress(LeadMagicError):
            canary_client.get_credits()
        assert [request for request in leadmagic_sandbox.requests if request.api_key_sent] == []

    def test_netrc_file_is_ignored(self, serve, tmp_path, monkeypatch):
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login user password secret\n")
        monkeypatch.setenv("NETRC", str(netrc))
        server = serve(BALANCE_RESPONSE)
        with LeadMagicClient(CANARY, server.url) as client:
            client.get_credits()
        [request] = server.requests
        assert b"Authorization" not in request

    def test_key_is_sent_in_its_header_only(self, serve):
        server = serve(BALANCE_RESPONSE)
        with LeadMagicClient(CANARY, server.url) as client:
            client.get_credits()
        [request] = server.requests
        assert f"X-API-Key: {CANARY}\r\n".encode() in request
        assert request.count(CANARY.encode()) == 1


class TestLinkTokens:
    @pytest.mark.parametrize(
        "link",
        [
            "https://api.leadmagic.io/bulk/jobs/1?token=hunter2secret",
            "https://api.leadmagic.io/bulk/jobs/1?a=1&token=hunter2secret&b=2",
            "https://api.leadmagic.io/bulk/jobs/1?TOKEN=hunter2secret",
            "token='hunter2secret'",
        ],
    )
    def test_token_in_an_error_response_is_hidden(self, canary_client, sandbox_with_canary, link):
        sandbox_with_canary.fail_next(
            status=400, body=f'{{"title": "See {link}", "detail": "{link}", "docs": "{link}"}}'
        )
        with pytest.raises(LeadMagicError) as caught:
            canary_client.get_credits()
        assert "hunter2secret" not in all_text_of(caught.value)
