"""The API key is seen by LeadMagic and by nobody else: not in words, not on another host."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import suppress

import pytest

from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.exceptions import LeadMagicConfigurationError, LeadMagicError, LeadMagicResponseError
from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from tests.support.responses import WHOLE

CANARY = "lm_canary/5f0c9b7e2d1a4c83"
LEAD = {"full_name": "Ada Lovelace", "domain": "example.com"}


@pytest.fixture(scope="module")
def _vault() -> Iterator[Sandbox]:
    with Sandbox(api_key=CANARY) as sandbox:
        yield sandbox


@pytest.fixture
def vault(_vault) -> Sandbox:
    """Give a sandbox whose key is the canary."""
    _vault.reset()
    return _vault


@pytest.fixture
def holder(vault, sleeps) -> Iterator[LeadMagicClient]:
    """Give a client that holds the canary."""
    with LeadMagicClient(CANARY, vault.url, max_attempts=2, timeout=5) as client:
        yield client


def everything_said(error: BaseException) -> str:
    """Write down an error, what it carries, and every error behind it, hidden or not."""
    said, error_behind = [], error
    while error_behind is not None:
        fields = vars(error_behind)
        said += [str(error_behind), repr(error_behind), repr(error_behind.args), repr(fields)]
        said += traceback.format_exception(error_behind)
        error_behind = error_behind.__cause__ or error_behind.__context__
    return "\n".join(said)


def everything_logged(caplog: pytest.LogCaptureFixture) -> str:
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
            {"status": 400, "body": f'{{"code": "{CANARY}", "trace": {{"request_id": "{CANARY}"}}}}'}, id="ids"
        ),
        pytest.param({"body": f'{{"credits": "{CANARY}"}}'}, id="echoed as credits"),
        pytest.param(
            {"status": 401, "body": '{"title": "Key ' + CANARY.replace("/", "\\/") + ' is unknown"}'},
            id="echoed with an escaped slash",
        ),
        pytest.param(
            {"status": 401, "body": '{"title": "Key ' + CANARY.replace("_", "\\u005f") + ' is unknown"}'},
            id="echoed with a coded letter",
        ),
        pytest.param({"status": 400, "body": "{}", "headers": {"X-Request-Id": CANARY}}, id="echoed as request id"),
        pytest.param({"body": "<html>", "content_type": f"text/{CANARY}"}, id="echoed as content type"),
        pytest.param({"retry_after": CANARY}, id="echoed as Retry-After"),
    ],
)
def test_no_failure_says_the_key(holder, vault, caplog, fault):
    caplog.set_level(logging.DEBUG)
    vault.fail_next(**fault, times=None)
    with pytest.raises(LeadMagicError) as caught:
        holder.get_credits()
    assert CANARY not in everything_said(caught.value)
    assert CANARY not in everything_logged(caplog)
    assert "urllib3" in caplog.text


def test_a_timeout_does_not_say_the_key(vault, caplog):
    caplog.set_level(logging.DEBUG)
    vault.fail_next(delay=0.5)
    with (
        LeadMagicClient(CANARY, vault.url, timeout=0.1, max_attempts=1) as client,
        pytest.raises(LeadMagicError) as caught,
    ):
        client.get_credits()
    assert CANARY not in everything_said(caught.value) + everything_logged(caplog)


def test_a_refused_connection_does_not_say_the_key(closed_port, caplog):
    caplog.set_level(logging.DEBUG)
    with (
        LeadMagicClient(CANARY, f"http://127.0.0.1:{closed_port}", max_attempts=1) as client,
        pytest.raises(LeadMagicError) as caught,
    ):
        client.get_credits()
    assert CANARY not in everything_said(caught.value) + everything_logged(caplog)


def test_a_success_does_not_say_the_key(holder, caplog):
    caplog.set_level(logging.DEBUG)
    balance = holder.refresh_credits()
    found = holder.enrich("email_finder", **LEAD)
    assert holder.check_health()
    assert " returned 200 in " in caplog.text
    assert CANARY not in everything_logged(caplog) + repr(balance) + repr(found)


def test_a_key_echoed_in_a_balance_is_hidden(holder, vault):
    vault.fail_next(body=f'{{"credits": 5, "credit_freeze_message": "key {CANARY} is frozen"}}')
    assert holder.get_credits().freeze_message == "key *** is frozen"


def test_no_part_of_a_client_shows_the_key_in_its_repr(holder):
    parts = [holder, holder._transport, holder._transport._session, holder._transport._session.auth, holder._calls]
    assert CANARY not in "".join(repr(part) for part in parts)
    assert CANARY not in repr(dict(holder._transport._session.headers))


@pytest.mark.parametrize(
    "api_key",
    [
        pytest.param(f"{CANARY}\nX-Evil: 1", id="newline"),
        pytest.param(f"a\r{CANARY}", id="carriage return"),
        pytest.param(f"{CANARY} {CANARY}", id="space"),
        pytest.param(f"{CANARY}\t1", id="tab"),
        pytest.param(f"{CANARY}\x00", id="null"),
        pytest.param(f"{CANARY}ä", id="letter outside ASCII"),
        pytest.param(f"{CANARY}\u200b", id="invisible space"),
        pytest.param(f"“{CANARY}”", id="typographic quotes"),
    ],
)
def test_a_key_no_header_can_carry_is_refused_without_showing_it(api_key):
    with pytest.raises(LeadMagicConfigurationError, match="the API key contains") as caught:
        LeadMagicClient(api_key)
    assert CANARY not in str(caught.value) + repr(caught.value)


class TestOtherHosts:
    def test_a_redirect_takes_the_key_nowhere(self, holder, vault, leadmagic_sandbox):
        vault.fail_next(redirect_to=f"{leadmagic_sandbox.url}/v1/credits")
        with pytest.raises(LeadMagicResponseError):
            holder.get_credits()
        assert [request.api_key_sent for request in vault.requests] == [True]
        assert leadmagic_sandbox.requests == []

    def test_a_proxy_from_the_environment_is_not_shown_the_key_in_plain_text(
        self, holder, vault, leadmagic_sandbox, monkeypatch
    ):
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", leadmagic_sandbox.url)
        with suppress(LeadMagicError):
            holder.get_credits()
        assert [request for request in leadmagic_sandbox.requests if request.api_key_sent] == []

    def test_a_netrc_file_adds_no_password_of_its_own(self, serve, tmp_path, monkeypatch):
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login somebody password else\n")
        monkeypatch.setenv("NETRC", str(netrc))
        server = serve(WHOLE)
        with LeadMagicClient(CANARY, server.url) as client:
            client.get_credits()
        [request] = server.requests
        assert b"Authorization" not in request

    def test_the_key_travels_in_its_header_and_nowhere_else(self, serve):
        server = serve(WHOLE)
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
    def test_a_token_in_an_error_answer_is_hidden(self, holder, vault, link):
        vault.fail_next(status=400, body=f'{{"title": "See {link}", "detail": "{link}", "docs": "{link}"}}')
        with pytest.raises(LeadMagicError) as caught:
            holder.get_credits()
        assert "hunter2secret" not in everything_said(caught.value)
