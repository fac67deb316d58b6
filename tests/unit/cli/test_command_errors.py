"""Tests that a failing command prints one line with cause and advice, and nothing to standard output."""

from __future__ import annotations

import pytest

from airflow_provider_leadmagic.cli.common import describe_failure
from airflow_provider_leadmagic.exceptions import LeadMagicError
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

COMMANDS = ["credits", "usage"]
PATHS = {"credits": "/v1/credits", "usage": "/v1/analytics/usage"}


@pytest.fixture(params=["table", "json"])
def error_of(request, run):
    """Return a function that runs a failing command and returns its error message."""

    def error_of(*arguments):
        outcome = run(*arguments, "--output", request.param)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith("leadmagic: ")
        return outcome.error

    return error_of


class TestArguments:
    @pytest.mark.parametrize("value", ["many", "", "NaN", "Infinity", "-1", "1e999", "10 credits"])
    def test_invalid_minimum_is_rejected(self, error_of, leadmagic_sandbox, value):
        error = error_of("credits", f"--minimum={value}")
        assert error == f"--minimum must be a number of credits, 0 or more; got {value!r}"
        assert leadmagic_sandbox.requests == []

    @pytest.mark.parametrize("value", ["many", "", "0", "-1", "91", "2.5", "1e1"])
    def test_invalid_days_are_rejected(self, error_of, leadmagic_sandbox, value):
        error = error_of("usage", f"--days={value}")
        assert error == f"--days must be a whole number from 1 to 90; got {value!r}"
        assert leadmagic_sandbox.requests == []

    def test_days_with_more_digits_than_python_converts_are_rejected(self, error_of):
        assert len(error_of("usage", "--days", "9" * 5000)) < 200

    @pytest.mark.parametrize("arguments", [[], ["forecast"], ["credits", "--colour"], ["usage", "--output", "yaml"]])
    def test_unknown_arguments_print_the_usage(self, run, arguments):
        outcome = run(*arguments)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith("usage: python -m airflow_provider_leadmagic ")


@pytest.mark.parametrize("command", COMMANDS)
class TestConnection:
    def test_missing_connection_is_named_with_advice(self, error_of, command):
        error = error_of(command, "--conn-id", "missing")
        assert error.startswith("Connection 'missing' not found: create it (type LeadMagic) under Admin > Connections")
        assert "or set --conn-id to an existing one" in error

    def test_malformed_connection_is_reported_as_missing_and_not_shown(self, error_of, command, monkeypatch):
        monkeypatch.setenv("AIRFLOW_CONN_LEAD", '{"conn_type": "leadmagic", "password": "lm_canary_5f0c9b7e2d1a4c83"')
        assert error_of(command, "--conn-id", "lead").startswith("Connection 'lead' not found: create it")

    @pytest.mark.parametrize("conn_id", ["", " "])
    def test_blank_connection_id_is_rejected(self, error_of, command, conn_id):
        assert error_of(command, "--conn-id", conn_id) == f"--conn-id must be a connection ID; got {conn_id!r}"

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            pytest.param({"password": ""}, "the API key is empty.", id="no key"),
            pytest.param({"host": "http://proxy.example"}, "(plain http exposes the API key)", id="plain http"),
            pytest.param({"extra": {"timeout": "soon"}}, "timeout (extra) must be", id="timeout"),
        ],
    )
    def test_invalid_connection_is_named_with_the_reason(self, error_of, connect, command, fields, words):
        connect(**fields)
        error = error_of(command, "--conn-id", "lead")
        assert error.startswith("Connection 'lead' cannot be used: ")
        assert words in error

    def test_failure_inside_airflow_is_reported_without_its_message(self, error_of, command, mocker):
        failure = RuntimeError("postgresql://airflow:lm_canary_5f0c9b7e2d1a4c83@db")
        mocker.patch.object(LeadMagicHook, "get_connection", side_effect=failure)
        assert error_of(command) == (
            "Airflow failed (RuntimeError): run `airflow db check` and `airflow info` to find the cause."
        )


@pytest.mark.parametrize("command", COMMANDS)
class TestLeadMagic:
    @pytest.mark.parametrize(
        ("fault", "cause", "advice"),
        [
            pytest.param(
                {"status": 401},
                "API key rejected (401 invalid_api_key)",
                "check the password of connection 'leadmagic_default'.",
                id="401",
            ),
            pytest.param(
                {"status": 403},
                "Access denied (403 insufficient_permissions)",
                "check the plan and role of connection 'leadmagic_default'.",
                id="403",
            ),
            pytest.param(
                {"status": 404},
                "Not found (404 resource_not_found)",
                "check the host of connection 'leadmagic_default'.",
                id="404",
            ),
            pytest.param({"status": 503}, "Server error (503 service_unavailable)", ": retry later. ", id="503"),
            pytest.param(
                {"retry_after": 60}, "Rate limit exceeded (429 rate_limit_exceeded)", ": retry in 60 s. ", id="429"
            ),
            pytest.param({"drop": True}, "Connection closed by the server", ": retry later or check", id="dropped"),
            pytest.param({"body": "<html>"}, "Response is not JSON (200)", ": retry later or check", id="HTML"),
            pytest.param(
                {"redirect_to": "https://x.example"},
                "Redirected (302)",
                "correct the host of connection 'leadmagic_default'.",
                id="redirect",
            ),
        ],
    )
    def test_error_response_is_reported_with_advice(self, error_of, leadmagic_sandbox, command, fault, cause, advice):
        leadmagic_sandbox.fail_next(PATHS[command], **fault)
        error = error_of(command)
        assert error.startswith(cause)
        assert advice in error
        assert "connection 'leadmagic_default'" in error
        assert error.partition(" [GET ")[2].endswith("]")

    def test_rejected_key_names_the_connection(self, error_of, leadmagic_sandbox, connect, command):
        connect(host=leadmagic_sandbox.url)
        error = error_of(command, "--conn-id", "lead")
        assert error.startswith("API key rejected (401 invalid_api_key): check the password of connection 'lead'. ")

    def test_unreachable_host_is_named(self, error_of, connect, closed_port, command):
        connect(host="127.0.0.1", port=closed_port)
        error = error_of(command, "--conn-id", "lead")
        address = f"[GET http://127.0.0.1:{closed_port}/v1/"
        assert error.startswith(f"Connection refused: check the host of connection 'lead'. {address}")


@pytest.mark.parametrize("body", ['{"hello": 1}', '{"credits": "many"}', '{"credits": NaN}', "[]"])
def test_response_without_a_valid_balance_is_reported(error_of, leadmagic_sandbox, body):
    leadmagic_sandbox.fail_next(body=body)
    error = error_of("credits")
    assert error.startswith("Invalid balance: `credits` is ")
    assert ". Check the host of connection 'leadmagic_default'. [GET " in error


@pytest.mark.parametrize(
    ("message", "described"),
    [
        ("Server error: retry later.", "Server error: retry later. Used connection 'lead'."),
        (
            "Server error: retry later. [GET http://[::1]:80/v1/credits]",
            "Server error: retry later. Used connection 'lead'. [GET http://[::1]:80/v1/credits]",
        ),
        ("Check the host of connection 'lead'.", "Check the host of connection 'lead'."),
    ],
)
def test_a_message_that_does_not_name_the_connection_gets_its_name_once(message, described):
    assert describe_failure(LeadMagicError(message), "lead") == described
