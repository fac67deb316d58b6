"""The hook reads analytics, and how long credits last, as its client does: here is what it adds."""

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
    def test_it_says_what_the_client_says(self, leadmagic_sandbox, name, wrapped):
        leadmagic_sandbox.wrap_analytics = wrapped
        leadmagic_sandbox.record_spending("email_finder", "12.05")
        with LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url) as client:
            expected = getattr(client.analytics, name)(*READS[name])
        assert getattr(LeadMagicHook().analytics, name)(*READS[name]) == expected

    def test_the_dashboard_is_read_too(self, leadmagic_sandbox):
        leadmagic_sandbox.set_credits("12.05")
        assert LeadMagicHook().analytics.dashboard()["credits"] == {"current": 12.05, "formatted": "$0.12"}

    def test_all_of_it_is_free(self, leadmagic_sandbox):
        for name, args in READS.items():
            getattr(LeadMagicHook().analytics, name)(*args)
        assert {request.method for request in leadmagic_sandbox.requests} == {"GET"}
        assert (len(leadmagic_sandbox.requests), leadmagic_sandbox.credits) == (len(READS), 1000)

    def test_it_is_tried_as_often_as_the_hook_was_told(self, leadmagic_sandbox):
        leadmagic_sandbox.fail_next("*", status=503, times=None)
        with pytest.raises(LeadMagicServerError):
            LeadMagicHook(max_attempts=1).analytics.usage()
        assert len(leadmagic_sandbox.requests) == 1

    @pytest.mark.parametrize("name", READS)
    def test_a_rejected_key_is_blamed_on_the_connection_by_name_and_not_shown(self, wrong_key, name):
        with pytest.raises(LeadMagicAuthenticationError, match="Check the API key of connection 'lead'") as caught:
            getattr(wrong_key.analytics, name)(*READS[name])
        assert CANARY not in f"{caught.value} {vars(caught.value)}"

    def test_a_window_that_is_none_is_refused_before_any_request(self, leadmagic_sandbox):
        with pytest.raises(ValueError, match=r"^days must be a whole number from 1 to 90; got 91$"):
            LeadMagicHook().analytics.usage(91)
        assert leadmagic_sandbox.requests == []

    def test_a_connection_that_does_not_exist_is_named(self):
        with pytest.raises(LeadMagicConfigurationError, match="Connection 'nobody_made_this' does not exist"):
            _ = LeadMagicHook("nobody_made_this").analytics


class TestRunway:
    def test_it_says_what_the_client_says(self, leadmagic_sandbox):
        leadmagic_sandbox.record_spending("email_finder", 70)
        leadmagic_sandbox.freeze(liquid=30)
        seen = LeadMagicHook().credits_runway()
        assert (seen.balance.spendable, seen.daily_credits, seen.days_left) == (30, 10, 3)
        assert paths(leadmagic_sandbox) == [CREDITS, USAGE]

    @pytest.mark.parametrize(("days", "daily"), [(1, 90), (90, 1)])
    def test_the_window_is_passed_on(self, leadmagic_sandbox, days, daily):
        leadmagic_sandbox.record_spending("email_finder", 90)
        assert LeadMagicHook().credits_runway(days).daily_credits == daily

    def test_it_can_have_the_balance_re_read_first(self, leadmagic_sandbox):
        LeadMagicHook().credits_runway(refresh=True)
        assert paths(leadmagic_sandbox) == [REFRESH, CREDITS, USAGE]

    @pytest.mark.parametrize("fails", [False, True], ids=["success", "failure"])
    def test_the_connections_to_leadmagic_are_closed_after_it(self, leadmagic_sandbox, mocker, fails):
        close = mocker.spy(LeadMagicClient, "close")
        if fails:
            leadmagic_sandbox.fail_next(USAGE, status=404)
        try:
            LeadMagicHook().credits_runway()
        except LeadMagicNotFoundError:
            assert fails
        assert close.call_count == 1

    @pytest.mark.parametrize("days", [0, 91, True, "7", None], ids=repr)
    def test_a_window_that_is_none_is_refused_before_any_request(self, leadmagic_sandbox, days):
        with pytest.raises(ValueError, match=r"^days must be a whole number from 1 to 90; got "):
            LeadMagicHook().credits_runway(days)
        assert leadmagic_sandbox.requests == []

    def test_a_usage_that_cannot_be_reckoned_with_is_an_error_of_ours(self, leadmagic_sandbox):
        leadmagic_sandbox.fail_next(USAGE, body='{"summary": {"total_credits": "many"}}')
        with pytest.raises(LeadMagicResponseError, match=r"`summary\.total_credits` is not a finite number"):
            LeadMagicHook().credits_runway()

    def test_a_rejected_key_is_blamed_on_the_connection_by_name_and_not_shown(self, wrong_key):
        with pytest.raises(LeadMagicAuthenticationError, match="Check the API key of connection 'lead'") as caught:
            wrong_key.credits_runway()
        assert CANARY not in f"{caught.value} {vars(caught.value)}"
