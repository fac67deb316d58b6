"""Tests of the hook's analytics and runway: same results as the client, errors name the connection."""

from __future__ import annotations

import pytest

from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.exceptions import (
    LeadMagicAuthenticationError,
    LeadMagicConfigurationError,
    LeadMagicNotFoundError,
    LeadMagicResponseError,
    LeadMagicServerError,
)
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from tests.support.sandbox_requests import paths
from tests.unit.conftest import CANARY

ROOT = "/v1/analytics"
USAGE, CREDITS, REFRESH = f"{ROOT}/credits", "/v1/credits", "/v1/credits/refresh"
READS = {
    "dashboard": [],
    "usage": [7],
    "products": [7],
    "credits": [7],
    "summary": ["2026-01-01", "2026-01-31"],
    "daily": [7],
    "day": ["2026-01-31"],
}


class TestAnalytics:
    @pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "wrapped"])
    @pytest.mark.parametrize("name", [name for name in READS if name != "dashboard"])
    def test_hook_returns_the_same_as_the_client(self, leadmagic_sandbox, name, wrapped):
        leadmagic_sandbox.wrap_analytics = wrapped
        leadmagic_sandbox.record_spending("email_finder", "12.05")
        with LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url) as client:
            expected = getattr(client.analytics, name)(*READS[name])
        assert getattr(LeadMagicHook().analytics, name)(*READS[name]) == expected

    def test_dashboard_is_returned(self, leadmagic_sandbox):
        leadmagic_sandbox.set_credits("12.05")
        assert LeadMagicHook().analytics.dashboard()["credits"] == {"current": 12.05, "formatted": "$0.12"}

    def test_all_calls_are_free_of_charge(self, leadmagic_sandbox):
        for name, args in READS.items():
            getattr(LeadMagicHook().analytics, name)(*args)
        assert {request.method for request in leadmagic_sandbox.requests} == {"GET"}
        assert (len(leadmagic_sandbox.requests), leadmagic_sandbox.credits) == (len(READS), 1000)

    def test_max_attempts_of_the_hook_applies(self, leadmagic_sandbox):
        leadmagic_sandbox.fail_next("*", status=503, times=None)
        with pytest.raises(LeadMagicServerError):
            LeadMagicHook(max_attempts=1).analytics.usage()
        assert len(leadmagic_sandbox.requests) == 1

    @pytest.mark.parametrize("name", READS)
    def test_rejected_key_names_the_connection_and_is_not_shown(self, wrong_key, name):
        with pytest.raises(LeadMagicAuthenticationError, match="check the password of connection 'lead'") as caught:
            getattr(wrong_key.analytics, name)(*READS[name])
        assert CANARY not in f"{caught.value} {vars(caught.value)}"

    def test_days_out_of_range_are_rejected_before_any_request(self, leadmagic_sandbox):
        with pytest.raises(ValueError, match=r"^days must be a whole number from 1 to 90; got 91$"):
            LeadMagicHook().analytics.usage(91)
        assert leadmagic_sandbox.requests == []

    def test_missing_connection_is_named(self):
        with pytest.raises(LeadMagicConfigurationError, match="Connection 'missing' not found: create it"):
            _ = LeadMagicHook("missing").analytics


class TestRunway:
    def test_runway_is_computed_from_spendable_credits_and_spending(self, leadmagic_sandbox):
        leadmagic_sandbox.record_spending("email_finder", 70)
        leadmagic_sandbox.freeze(liquid=30)
        runway = LeadMagicHook().credits_runway()
        assert (runway.balance.spendable, runway.daily_credits, runway.days_left) == (30, 10, 3)
        assert paths(leadmagic_sandbox) == [CREDITS, USAGE]

    @pytest.mark.parametrize(("days", "daily"), [(1, 90), (90, 1)])
    def test_days_set_the_averaging_window(self, leadmagic_sandbox, days, daily):
        leadmagic_sandbox.record_spending("email_finder", 90)
        assert LeadMagicHook().credits_runway(days).daily_credits == daily

    def test_refresh_makes_leadmagic_re_read_the_balance_first(self, leadmagic_sandbox):
        LeadMagicHook().credits_runway(refresh=True)
        assert paths(leadmagic_sandbox) == [REFRESH, CREDITS, USAGE]

    @pytest.mark.parametrize("fails", [False, True], ids=["success", "failure"])
    def test_http_connections_are_closed_afterwards(self, leadmagic_sandbox, mocker, fails):
        close = mocker.spy(LeadMagicClient, "close")
        if fails:
            leadmagic_sandbox.fail_next(USAGE, status=404)
        try:
            LeadMagicHook().credits_runway()
        except LeadMagicNotFoundError:
            assert fails
        assert close.call_count == 1

    @pytest.mark.parametrize("days", [0, 91, True, "7", None], ids=repr)
    def test_days_out_of_range_are_rejected_before_any_request(self, leadmagic_sandbox, days):
        with pytest.raises(ValueError, match=r"^days must be a whole number from 1 to 90; got "):
            LeadMagicHook().credits_runway(days)
        assert leadmagic_sandbox.requests == []

    def test_malformed_usage_raises_a_leadmagic_error(self, leadmagic_sandbox):
        leadmagic_sandbox.fail_next(USAGE, body='{"summary": {"total_credits": "many"}}')
        with pytest.raises(LeadMagicResponseError, match=r"`summary\.total_credits` is not a finite number"):
            LeadMagicHook().credits_runway()

    def test_rejected_key_names_the_connection_and_is_not_shown(self, wrong_key):
        with pytest.raises(LeadMagicAuthenticationError, match="check the password of connection 'lead'") as caught:
            wrong_key.credits_runway()
        assert CANARY not in f"{caught.value} {vars(caught.value)}"
