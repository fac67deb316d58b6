"""Tests of the conversion of error responses: LeadMagic's two formats, older formats, and pages of a proxy."""

from __future__ import annotations

from decimal import Decimal

import pytest

from airflow_provider_leadmagic import exceptions
from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.exceptions import (
    InsufficientCreditsError,
    LeadMagicAuthenticationError,
    LeadMagicConfigurationError,
    LeadMagicError,
    LeadMagicNotFoundError,
    LeadMagicPermissionError,
    LeadMagicRateLimitError,
    LeadMagicRequestError,
    LeadMagicResponseError,
    LeadMagicServerError,
)

OWNER = "connection 'nightly'"


@pytest.fixture
def error_of(leadmagic_sandbox):
    """Return a function that requests the balance with a fault and returns the resulting error."""

    def request(**fault):
        leadmagic_sandbox.fail_next(**fault)
        with (
            LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url, max_attempts=1, owner=OWNER) as client,
            pytest.raises(LeadMagicError) as caught,
        ):
            client.get_credits()
        return caught.value

    return request


@pytest.mark.parametrize(
    ("status", "error_class", "transient"),
    [
        (400, LeadMagicRequestError, False),
        (401, LeadMagicAuthenticationError, False),
        (402, InsufficientCreditsError, False),
        (403, LeadMagicPermissionError, False),
        (404, LeadMagicNotFoundError, False),
        (422, LeadMagicRequestError, False),
        (429, LeadMagicRateLimitError, True),
        (500, LeadMagicServerError, True),
        (503, LeadMagicServerError, True),
        (599, LeadMagicServerError, True),
    ],
)
def test_status_determines_the_exception(error_of, status, error_class, transient):
    error = error_of(status=status)
    assert type(error) is error_class
    assert (error.status, error.transient) == (status, transient)


def test_redirect_is_a_response_error(error_of):
    error = error_of(redirect_to="https://example.com/")
    assert type(error) is LeadMagicResponseError
    assert (error.status, error.transient) == (302, False)
    assert str(error).startswith("Redirected (302): ")


def test_no_exception_derives_from_airflows_exceptions():
    family = [value for name, value in vars(exceptions).items() if name.endswith("Error")]
    assert len(family) > 10
    assert {base.__module__ for error_class in family for base in error_class.__mro__} == {
        exceptions.__name__,
        "builtins",
    }


def test_configuration_error_is_a_value_error():
    assert issubclass(LeadMagicConfigurationError, ValueError)


@pytest.mark.parametrize("flat", [False, True], ids=["list of errors", "flat object"])
class TestDocumentedFormats:
    def test_all_fields_become_attributes(self, error_of, flat):
        error = error_of(status=500, flat=flat)
        assert error.code == "INTERNAL_ERROR"
        assert error.detail == "This is a temporary server error."
        assert error.action == "Wait 30 seconds and retry your request."
        assert error.docs.startswith("https://")
        assert len(error.request_id) == 36

    def test_message_has_cause_advice_and_request_id(self, error_of, leadmagic_sandbox, flat):
        error = error_of(status=500, flat=flat)
        assert str(error).startswith("Server error (500 INTERNAL_ERROR): retry later. Something went wrong")
        assert "Wait 30 seconds and retry your request. [" in str(error)
        assert str(error).endswith(f"[GET {leadmagic_sandbox.url}/v1/credits, request id {error.request_id}]")

    def test_credits_are_decimals(self, error_of, flat):
        error = error_of(status=402, flat=flat)
        assert (error.required, error.available) == (Decimal(5), Decimal("2.5"))

    def test_retry_after_is_a_number(self, error_of, flat):
        assert error_of(retry_after=42, flat=flat).retry_after == 42

    def test_rejected_key_names_the_connection(self, error_of, flat):
        assert f": check the password of {OWNER}. " in str(error_of(status=401, flat=flat))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            '{"error": {"code": "UNAUTHORIZED", "message": "No key."}}',
            "(400 UNAUTHORIZED): No key. [",
            id="old format",
        ),
        pytest.param('{"error": "Unauthorized", "message": "No key."}', "No key", id="older format"),
        pytest.param('{"error": "Unauthorized"}', "Unauthorized", id="error as text"),
        pytest.param('{"message": "No key."}', "No key", id="message only"),
        pytest.param('{"detail": "No key."}', "No key", id="detail only"),
        pytest.param('{"errors": ["No key."]}', "No key", id="errors as texts"),
        pytest.param('{"errors": null, "title": "No key."}', "No key", id="flat with null errors"),
        pytest.param('{"errors": [{"title": "No key."}, {"title": "Second"}]}', "No key", id="two errors"),
    ],
)
def test_explanation_is_found_in_other_formats(error_of, body, expected):
    assert expected in str(error_of(status=400, body=body))


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        '"oops"',
        "[1]",
        "{}",
        '{"errors": []}',
        '{"errors": [null]}',
        '{"error": null}',
        '{"title": {"a": 1}, "meta": 5, "trace": []}',
        "<html><body>502 Bad Gateway</body></html>",
        pytest.param("[" * 100_000, id="deeply nested"),
        pytest.param('{"a": ' + "9" * 5000 + "}", id="5000 digits"),
        pytest.param('{"a": 1e99999999999999999999}', id="huge exponent"),
    ],
)
def test_body_without_explanation(error_of, body):
    error = error_of(status=502, body=body)
    assert (type(error), error.status, error.code) == (LeadMagicServerError, 502, None)
    assert str(error).startswith("Server error (502): retry later. [GET ")


def test_response_that_is_not_text(serve):
    server = serve(b"HTTP/1.1 400 \xff\xfe\r\nContent-Length: 4\r\n\r\n\xff\xfe\x00\x80")
    with (
        LeadMagicClient("lm_unknown_key", server.url, max_attempts=1) as client,
        pytest.raises(LeadMagicRequestError, match=r"^Request rejected \(400\): no explanation given\. \["),
    ):
        client.get_credits()


def test_request_id_falls_back_to_the_header(error_of):
    error = error_of(status=400, body="{}", headers={"X-Request-Id": "req-1"})
    assert error.request_id == "req-1"
    assert str(error).endswith(", request id req-1]")


@pytest.mark.parametrize(
    "body",
    [
        '{"errors": [{"title": "t"}], "meta": {"request_id": "req-2"}}',
        '{"title": "t", "trace": {"request_id": "req-2"}}',
    ],
    ids=["meta", "trace"],
)
def test_request_id_in_the_body_takes_precedence(error_of, body):
    assert error_of(status=400, body=body, headers={"X-Request-Id": "req-1"}).request_id == "req-2"


@pytest.mark.parametrize("amount", ["NaN", "1e400", '"5"', "true", "9" * 400, "9" * 4000])
def test_invalid_credits_are_ignored(error_of, amount):
    error = error_of(status=402, body=f'{{"title": "t", "context": {{"credits_required": {amount}}}}}')
    assert (error.required, error.available) == (None, None)


@pytest.mark.parametrize("context", ["[]", "null"])
def test_invalid_context_is_ignored(error_of, context):
    error = error_of(status=402, body=f'{{"title": "t", "context": {context}}}')
    assert (error.required, error.available) == (None, None)


@pytest.mark.parametrize("seconds", ['"soon"', "true", "{}", "NaN", "1e400"])
def test_invalid_retry_after_in_the_body_is_ignored(error_of, seconds):
    error = error_of(status=429, body=f'{{"title": "t", "context": {{"retry_after_seconds": {seconds}}}}}')
    assert error.retry_after is None


class TestText:
    def test_message_has_one_line(self, error_of):
        error = error_of(status=400, body='{"title": "one\\ntwo\\r\\nthree\\u2028four"}')
        assert "one two three four" in str(error)
        assert len(str(error).splitlines()) == 1

    def test_long_text_is_cut(self, error_of):
        error = error_of(status=400, body=f'{{"title": "{"x" * 100_000}", "detail": "{"y" * 100_000}"}}')
        assert len(str(error)) < 600
        assert len(error.detail) < 310

    def test_message_can_be_encoded(self, error_of):
        str(error_of(status=400, body='{"title": "half a pair: \\ud800"}')).encode()

    def test_message_has_no_control_characters(self, error_of):
        message = str(error_of(status=400, body='{"title": "red \\u001b[31m bell \\u0007 null \\u0000"}'))
        assert message.isprintable()

    def test_braces_are_kept(self, error_of):
        assert "{owner} {0}" in str(error_of(status=401, body='{"title": "{owner} {0}"}'))

    def test_freeze_message_can_be_encoded(self, leadmagic_sandbox, client):
        leadmagic_sandbox.fail_next(body='{"credits": 5, "credit_freeze_message": "half a pair: \\ud800"}')
        client.get_credits().freeze_message.encode()
