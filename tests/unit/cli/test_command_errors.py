"""What can go wrong with a command is one line that says what, where and what to do; standard output stays empty."""

from __future__ import annotations

import pytest

from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

COMMANDS = ["credits", "usage"]
PATHS = {"credits": "/v1/credits", "usage": "/v1/analytics/usage"}


@pytest.fixture(params=["table", "json"])
def complaint_of(request, run):
    """Give a function that runs a command which fails, and returns its complaint."""

    def complaint_of(*arguments):
        outcome = run(*arguments, "--output", request.param)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith("leadmagic: ")
        return outcome.complaint

    return complaint_of


class TestArguments:
    @pytest.mark.parametrize("value", ["many", "", "NaN", "Infinity", "-1", "1e999", "10 credits"])
    def test_a_minimum_that_is_no_number_of_credits_is_refused(self, complaint_of, leadmagic_sandbox, value):
        complaint = complaint_of("credits", f"--minimum={value}")
        assert complaint == f"--minimum must be a number of credits, 0 or more; got {value!r}"
        assert leadmagic_sandbox.requests == []

    @pytest.mark.parametrize("value", ["many", "", "0", "-1", "91", "2.5", "1e1"])
    def test_days_leadmagic_does_not_know_are_refused(self, complaint_of, leadmagic_sandbox, value):
        complaint = complaint_of("usage", f"--days={value}")
        assert complaint == f"--days must be a whole number from 1 to 90; got {value!r}"
        assert leadmagic_sandbox.requests == []

    def test_so_are_days_of_more_digits_than_python_reads(self, complaint_of):
        assert len(complaint_of("usage", "--days", "9" * 5000)) < 200

    @pytest.mark.parametrize("arguments", [[], ["forecast"], ["credits", "--colour"], ["usage", "--output", "yaml"]])
    def test_what_the_command_line_does_not_know_is_refused_with_the_usage(self, run, arguments):
        outcome = run(*arguments)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith("usage: python -m airflow_provider_leadmagic ")


@pytest.mark.parametrize("command", COMMANDS)
class TestConnection:
    def test_one_that_does_not_exist_is_named_with_a_way_out(self, complaint_of, command):
        complaint = complaint_of(command, "--conn-id", "missing")
        assert complaint.startswith(
            "Connection 'missing' not found: create it (type LeadMagic) under Admin > Connections"
        )
        assert "or set --conn-id to an existing one" in complaint

    def test_one_that_cannot_be_parsed_counts_as_missing_and_is_not_shown(self, complaint_of, command, monkeypatch):
        monkeypatch.setenv("AIRFLOW_CONN_LEAD", '{"conn_type": "leadmagic", "password": "lm_canary_5f0c9b7e2d1a4c83"')
        assert complaint_of(command, "--conn-id", "lead").startswith("Connection 'lead' not found: create it")

    @pytest.mark.parametrize("conn_id", ["", " "])
    def test_one_without_a_name_is_refused(self, complaint_of, command, conn_id):
        assert complaint_of(command, "--conn-id", conn_id) == f"--conn-id must be a connection ID; got {conn_id!r}"

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            pytest.param({"password": ""}, "the API key is empty.", id="no key"),
            pytest.param({"host": "http://proxy.example"}, "plain http would show the API key", id="plain http"),
            pytest.param({"extra": {"timeout": "soon"}}, "timeout (extra) must be", id="timeout"),
        ],
    )
    def test_one_that_cannot_be_used_is_named_with_the_reason(self, complaint_of, connect, command, fields, words):
        connect(**fields)
        complaint = complaint_of(command, "--conn-id", "lead")
        assert complaint.startswith("Connection 'lead' cannot be used: ")
        assert words in complaint

    def test_a_lookup_that_fails_inside_airflow_is_told_without_its_words(self, complaint_of, command, mocker):
        words = RuntimeError("postgresql://airflow:lm_canary_5f0c9b7e2d1a4c83@db")
        mocker.patch.object(LeadMagicHook, "get_connection", side_effect=words)
        assert complaint_of(command) == (
            "Airflow could not be used (RuntimeError): see what `airflow db check` and `airflow info` say"
        )


@pytest.mark.parametrize("command", COMMANDS)
class TestLeadMagic:
    @pytest.mark.parametrize(
        ("fault", "words", "advice"),
        [
            pytest.param(
                {"status": 401}, "was answered 401", "Check the API key of connection 'leadmagic_default'.", id="401"
            ),
            pytest.param(
                {"status": 403}, "was answered 403", "The API key of connection 'leadmagic_default' is known", id="403"
            ),
            pytest.param(
                {"status": 404}, "was answered 404", "Check the base URL of connection 'leadmagic_default'.", id="404"
            ),
            pytest.param({"status": 503}, "was answered 503", "or try again later.", id="503"),
            pytest.param({"retry_after": 60}, "was answered 429", "or try again later.", id="429"),
            pytest.param({"drop": True}, "got no response", "or try again later.", id="dropped"),
            pytest.param({"body": "<html>"}, "a body that is not JSON", "or try again later.", id="HTML"),
            pytest.param(
                {"redirect_to": "https://x.example"}, "a redirect", "Check the host of connection", id="redirect"
            ),
        ],
    )
    def test_what_it_answers_is_told_with_what_to_do(
        self, complaint_of, leadmagic_sandbox, command, fault, words, advice
    ):
        leadmagic_sandbox.fail_next(PATHS[command], **fault)
        complaint = complaint_of(command)
        assert words in complaint
        assert advice in complaint
        assert "connection 'leadmagic_default'" in complaint

    def test_a_key_it_does_not_know_is_blamed_on_the_connection(
        self, complaint_of, leadmagic_sandbox, connect, command
    ):
        connect(host=leadmagic_sandbox.url)
        complaint = complaint_of(command, "--conn-id", "lead")
        assert "was answered 401" in complaint
        assert complaint.endswith("Check the API key of connection 'lead'.")

    def test_a_host_nobody_answers_at_is_named(self, complaint_of, connect, closed_port, command):
        connect(host="127.0.0.1", port=closed_port)
        complaint = complaint_of(command, "--conn-id", "lead")
        assert complaint.startswith(f"GET http://127.0.0.1:{closed_port}/v1/")
        assert complaint.endswith(
            "got no response: Connection refused. Check the host of connection 'lead' or try again later."
        )


@pytest.mark.parametrize("body", ['{"hello": 1}', '{"credits": "many"}', '{"credits": NaN}', "[]"])
def test_an_answer_that_is_no_balance_is_no_balance(complaint_of, leadmagic_sandbox, body):
    leadmagic_sandbox.fail_next(body=body)
    complaint = complaint_of("credits")
    assert complaint.startswith("LeadMagic sent a balance ")
    assert complaint.endswith(". Check the host of connection 'leadmagic_default'.")
