"""Tests that the API key is sent to LeadMagic only, and appears in no message."""

from __future__ import annotations

import base64
import json
import logging
import traceback
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType
from urllib.parse import quote

import pytest

from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.exceptions import LeadMagicConfigurationError, LeadMagicError, LeadMagicResponseError
from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from tests.support.responses import BALANCE_RESPONSE

CANARY = "lm_canary/5f0c9b7e2d1a4c83"
ADA = {"full_name": "Ada Lovelace", "company_name": "Analytical Engines"}
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


def local_variables_of(error: BaseException) -> str:
    """Return the local variables that a tool such as Sentry records, of all frames except those of tests."""
    texts, pending = [], [error]
    while pending:
        current = pending.pop()
        frames = (frame.f_locals for frame, _ in traceback.walk_tb(current.__traceback__) if not in_tests(frame))
        texts += [f"{name} = {value!r}" for variables in frames for name, value in variables.items()]
        pending += filter(None, (current.__cause__, current.__context__))
    assert texts
    return "\n".join(texts)


def in_tests(frame: FrameType) -> bool:
    return "/tests/" in frame.f_code.co_filename


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


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 401, "body": f'{{"title": "Key {CANARY} is unknown"}}'}, id="401"),
        pytest.param({"status": 503, "retry_after": CANARY}, id="503"),
        pytest.param({"drop": True}, id="dropped"),
        pytest.param({"truncate": True}, id="cut short"),
        pytest.param({"redirect_to": f"https://example.com/?key={CANARY}"}, id="redirect"),
        pytest.param({"body": "<html>"}, id="HTML"),
        pytest.param({"body": '{"credits": "many"}'}, id="bad credits"),
    ],
)
def test_tools_that_record_the_local_variables_of_an_error_do_not_record_the_key(
    canary_client, sandbox_with_canary, fault
):
    sandbox_with_canary.fail_next(**fault, times=None)
    with pytest.raises(LeadMagicError) as caught:
        canary_client.get_credits()
    assert CANARY not in local_variables_of(caught.value)


def test_timeout_does_not_contain_the_key(sandbox_with_canary, caplog):
    caplog.set_level(logging.DEBUG)
    sandbox_with_canary.fail_next(delay=0.5)
    with (
        LeadMagicClient(CANARY, sandbox_with_canary.url, timeout=0.1, max_attempts=1) as client,
        pytest.raises(LeadMagicError) as caught,
    ):
        client.get_credits()
    assert CANARY not in all_text_of(caught.value) + all_log_text(caplog) + local_variables_of(caught.value)


def test_refused_connection_does_not_contain_the_key(closed_port, caplog):
    caplog.set_level(logging.DEBUG)
    with (
        LeadMagicClient(CANARY, f"http://127.0.0.1:{closed_port}", max_attempts=1) as client,
        pytest.raises(LeadMagicError) as caught,
    ):
        client.get_credits()
    assert CANARY not in all_text_of(caught.value) + all_log_text(caplog) + local_variables_of(caught.value)


def test_success_does_not_contain_the_key(canary_client, caplog):
    caplog.set_level(logging.DEBUG)
    balance = canary_client.refresh_credits()
    result = canary_client.enrich("email_finder", **LEAD)
    assert canary_client.check_health()
    assert " returned 200 in " in caplog.text
    assert CANARY not in all_log_text(caplog) + repr(balance) + repr(result)


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(CANARY.upper(), id="upper case"),
        pytest.param(" ".join(CANARY), id="spaces"),
        pytest.param(f"{CANARY[:9]}\n{CANARY[9:]}", id="newline"),
        pytest.param(f"{CANARY[:9]}\\n{CANARY[9:]}", id="escaped newline"),
        pytest.param(f"{CANARY[:9]}\u200b{CANARY[9:]}", id="zero-width space"),
        pytest.param(CANARY.replace("/", "\\/"), id="escaped twice"),
        pytest.param(quote(CANARY, safe=""), id="percent"),
        pytest.param(quote(quote(CANARY, safe="")), id="percent twice"),
        pytest.param("".join(f"%{ord(character):02X}" for character in CANARY), id="percent, every character"),
        pytest.param(CANARY.replace("_", "&#95;").replace("/", "&#x2F;"), id="HTML"),
        pytest.param(base64.b64encode(CANARY.encode()).decode(), id="base64"),
        pytest.param(base64.b64encode(b"user:" + CANARY.encode()).decode(), id="base64 after a user name"),
        pytest.param(base64.urlsafe_b64encode(b"a:" + CANARY.encode() + b"~").decode(), id="base64 for URLs"),
        pytest.param(CANARY.encode().hex(), id="hexadecimal"),
    ],
)
def test_key_echoed_in_another_form_is_hidden(canary_client, sandbox_with_canary, form):
    sandbox_with_canary.fail_next(status=401, body=json.dumps({"title": f"Key {form} is unknown", "detail": form}))
    with pytest.raises(LeadMagicError) as caught:
        canary_client.get_credits()
    assert form not in all_text_of(caught.value)
    assert caught.value.detail.endswith("***")
    assert "***" in str(caught.value)


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
            "https://api.leadmagic.io/bulk/jobs/1?access_token=hunter2secret",
            "https%3A%2F%2Fapi.leadmagic.io%2Fbulk%2Fjobs%2F1%3Ftoken%3Dhunter2secret%26b%3D2",
            "%3Ftoken%253Dhunter2secret",
            "?token&#61;hunter2secret",
            "?token&#x3D;hunter2secret",
            "?token&equals;hunter2secret",
            "?token\\u003dhunter2secret",
            "token='hunter2secret'",
            'token: "hunter2secret"',
            '{"token": "hunter2secret"}',
            '{\\"token\\":\\"hunter2secret\\"}',
            "{&quot;token&quot;:&quot;hunter2secret&quot;}",
            "%22token%22%3A%22hunter2secret%22",
            "The token is hunter2secret",
            "The token was 'hunter2secret'",
            "Authorization: Bearer hunter2secret",
            "API key: hunter2secret",
            "eyJhbGciOiJIUzI1NiJ9.hunter2secret.c2lnbmF0dXJl",
        ],
    )
    def test_token_in_an_error_response_is_hidden(self, canary_client, sandbox_with_canary, link):
        text = json.dumps(f"See {link}")
        sandbox_with_canary.fail_next(status=400, body=f'{{"title": {text}, "detail": {text}, "docs": {text}}}')
        with pytest.raises(LeadMagicError) as caught:
            canary_client.get_credits()
        assert "hunter2secret" not in all_text_of(caught.value)
        assert caught.value.detail.startswith("See ")

    @pytest.mark.parametrize(
        "text",
        [
            "The token is invalid.",
            "The token is not valid for this job.",
            "Token: expired.",
            "Token is required.",
            "The API key is disabled.",
            "The API key was revoked on 2026-11-26.",
            "Provide a valid API key in the X-API-Key header (case-insensitive).",
            "Tokens: 5 left.",
        ],
    )
    def test_ordinary_words_are_kept(self, canary_client, sandbox_with_canary, text):
        sandbox_with_canary.fail_next(status=400, body=json.dumps({"title": text}))
        with pytest.raises(LeadMagicError) as caught:
            canary_client.get_credits()
        assert f" {text} [" in str(caught.value)


class TestRecords:
    """Records are personal data. Errors must not contain them, even if LeadMagic quotes them."""

    LOOKUP, SUBMIT = "/v1/people/email-finder", "/bulk/submit"
    QUOTES = (
        "Ada Lovelace of Analytical Engines cannot be found.",
        "Row 12: ADA LOVELACE is invalid.",
        "Row 12 (Ada Lovelace <ada@lovelace.example>, +44 20 7946 0958) is invalid.",
        "Write to Ada Lovelace, ada%40lovelace.example or (020) 7946-0958.",
        "See https://www.linkedin.com/in/ada-lovelace for Ada Lovelace.",
    )
    PERSONAL = ("lovelace", "analytical", "7946", "ada@")

    @staticmethod
    def error_of(call) -> LeadMagicError:
        with pytest.raises(LeadMagicError) as caught:
            call()
        return caught.value

    @pytest.mark.parametrize("quote", QUOTES)
    @pytest.mark.parametrize("status", [400, 409, 422, 500])
    def test_lookup_error_does_not_quote_the_record(self, canary_client, sandbox_with_canary, caplog, status, quote):
        body = json.dumps({"title": quote, "detail": f"About {quote}", "action": quote, "docs": quote})
        sandbox_with_canary.fail_next(self.LOOKUP, status=status, body=body)
        error = self.error_of(lambda: canary_client.enrich("email_finder", **ADA))
        text = f"{error} {error!r} {error.__dict__} {caplog.text}".lower()
        assert [word for word in self.PERSONAL if word in text] == []
        assert "[redacted]" in str(error)
        assert error.detail.startswith("About ")

    @pytest.mark.parametrize("quote", QUOTES)
    def test_bulk_error_does_not_quote_a_row(self, canary_client, sandbox_with_canary, caplog, quote):
        sandbox_with_canary.fail_next(self.SUBMIT, status=422, body=json.dumps({"title": quote, "detail": quote}))
        rows = [*({"full_name": f"Lead {number}"} for number in range(10)), ADA]
        error = self.error_of(lambda: canary_client.bulk.submit("email_finder", rows, idempotency_key="k1"))
        text = f"{error} {error!r} {error.__dict__} {caplog.text}".lower()
        assert [word for word in self.PERSONAL if word in text] == []
        assert "[redacted]" in str(error)

    def test_values_within_lists_and_objects_are_hidden(self, canary_client, sandbox_with_canary):
        sandbox_with_canary.fail_next(
            self.LOOKUP, status=422, body='{"title": "Ada Lovelace and Countess are invalid."}'
        )
        record = {"people": [{"full_name": "Ada Lovelace"}], "title": {"any": ["Countess"]}}
        error = self.error_of(lambda: canary_client.enrich("email_finder", **record))
        assert ": [redacted] and [redacted] are invalid. [" in str(error)

    def test_names_that_json_escapes_are_hidden(self, canary_client, sandbox_with_canary):
        body = json.dumps({"title": 'Row 1: Zoë "Zed" Müller and 李明 are invalid.'})
        sandbox_with_canary.fail_next(self.SUBMIT, status=422, body=body)
        rows = [{"full_name": 'Zoë "Zed" Müller'}, {"full_name": "李明"}]
        error = self.error_of(
            lambda: canary_client.bulk.submit("email_finder", rows, idempotency_key="k1", file_name='odd": [')
        )
        assert ": Row 1: [redacted] and [redacted] are invalid. [" in str(error)

    @pytest.mark.parametrize(
        "text",
        [
            "Email is required.",
            "Row 12: Email is required.",
            "Unknown field 'emial' in row 12.",
            "Rate limit exceeded: 600 requests per 1 minute.",
            "At most 500,000 rows or 10485760 bytes per job.",
            "Need 12345.25 credits on 2026-11-26.",
            "Adaptive limits apply to this product.",
            "The product email_finder is not available.",
        ],
    )
    def test_explanation_without_personal_data_is_kept(self, canary_client, sandbox_with_canary, text):
        rows = [{"email": "email", "full_name": "Ada", "employees": "12"}]
        sandbox_with_canary.fail_next(self.SUBMIT, status=422, body=json.dumps({"title": text}))
        error = self.error_of(lambda: canary_client.bulk.submit("email_finder", rows, idempotency_key="k1"))
        assert f": {text} [" in str(error)
        sandbox_with_canary.fail_next(self.LOOKUP, status=422, body=json.dumps({"title": text}))
        error = self.error_of(lambda: canary_client.enrich("email_finder", **rows[0]))
        assert f": {text} [" in str(error)

    def test_error_of_a_job_keeps_the_argument_of_the_action(self, canary_client, sandbox_with_canary):
        body = '{"title": "Mode failed_only is not available."}'
        sandbox_with_canary.fail_next("/bulk/jobs/j1/restart", status=409, body=body)
        error = self.error_of(lambda: canary_client.bulk.restart("j1", "failed_only"))
        assert ": Mode failed_only is not available. [" in str(error)
