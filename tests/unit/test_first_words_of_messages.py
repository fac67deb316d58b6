"""
Tests that messages of the hook, the check and the commands start with the cause and the advice.

Airflow's UI cuts a log line at about 110 characters, so both must fit into these.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from airflow_provider_leadmagic.api.models import CreditBalance, CreditsRunway
from airflow_provider_leadmagic.decisions.check import CreditCheck
from airflow_provider_leadmagic.exceptions import LeadMagicConfigurationError
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from tests.support.log_view import LINE_LENGTH

CONN_ID = "leadmagic_default"


def message_of_check(*, warn_below=None, minimum=None, days=None):
    balance = CreditBalance(Decimal(250), datetime(2026, 11, 26, 14, tzinfo=UTC))
    runway = CreditsRunway(balance, Decimal(700), 7)
    check = CreditCheck(CONN_ID, balance, minimum, warn_below, runway, days)
    return check.warning() or check.shortfalls()[0]


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        pytest.param(
            {"warn_below": Decimal(1000)},
            "Credits low: 250 spendable, warn_below is 1,000 on connection 'leadmagic_default'.",
            id="warn_below",
        ),
        pytest.param(
            {"minimum": Decimal("250.05")},
            "Not enough credits: 250 spendable, 250.05 required on connection 'leadmagic_default'.",
            id="minimum_credits",
        ),
        pytest.param(
            {"days": Decimal(7)},
            "Credits last 2.5 days, minimum_runway_days is 7: 250 spendable at 100 credits a day ",
            id="minimum_runway_days",
        ),
    ],
)
def test_check_message_starts_with_the_cause(thresholds, message):
    assert len(message) <= LINE_LENGTH
    assert message_of_check(**thresholds).startswith(message)


@pytest.mark.parametrize(
    ("connection", "message"),
    [
        pytest.param(
            None,
            "Connection 'leadmagic_default' not found: create it (type LeadMagic) under Admin > Connections, ",
            id="missing",
        ),
        pytest.param(
            '{"conn_type": "leadmagic"}',
            "Connection 'leadmagic_default' cannot be used: the API key is empty.",
            id="no key",
        ),
        pytest.param(
            '{"conn_type": "leadmagic", "login": "k"}',
            "Connection 'leadmagic_default' cannot be used: the password is empty; put the API key there, ",
            id="key in the login",
        ),
        pytest.param(
            '{"conn_type": "leadmagic", "host": "https://api.leadmagic.io/v1", "password": "k"}',
            "Connection 'leadmagic_default' cannot be used: host (API base URL): leave out /v1, ",
            id="path in the host",
        ),
        pytest.param(
            '{"conn_type": "leadmagic", "schema": "ftp", "password": "k"}',
            "Connection 'leadmagic_default' cannot be used: schema must be https, http or empty; ",
            id="schema",
        ),
        pytest.param(
            '{"conn_type": "leadmagic", "password": "k", "extra": {"timeout": "soon"}}',
            "Connection 'leadmagic_default' cannot be used: timeout (extra) must be a number of seconds above 0, ",
            id="timeout",
        ),
        pytest.param(
            '{"conn_type": "leadmagic", "password": "k", "host": "http://proxy.example"}',
            "Connection 'leadmagic_default' cannot be used: host (API base URL) must start with https:// ",
            id="plain http",
        ),
    ],
)
def test_connection_message_starts_with_cause_and_advice(monkeypatch, connection, message):
    if connection:
        monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", connection)
    with pytest.raises(LeadMagicConfigurationError) as caught:
        LeadMagicHook(CONN_ID).get_conn()
    assert len(message) <= LINE_LENGTH
    assert str(caught.value).startswith(message)
