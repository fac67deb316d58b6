"""Tests of LeadMagicClient: balance, refresh, health, lookups and arguments."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from airflow_provider_leadmagic.client import LeadMagicClient, parse_timeout
from airflow_provider_leadmagic.exceptions import (
    InsufficientCreditsError,
    LeadMagicAuthenticationError,
    LeadMagicConfigurationError,
    LeadMagicError,
    LeadMagicRequestError,
    LeadMagicResponseError,
)
from tests.support.sandbox_requests import calls

CREDITS, REFRESH, HEALTH = "/v1/credits", "/v1/credits/refresh", "/v1/credits/health"
EMAIL_FINDER = "/v1/people/email-finder"
LEAD = {"full_name": "Ada Lovelace", "domain": "example.com"}


class TestBalance:
    def test_balance_is_read_with_one_get(self, client, leadmagic_sandbox):
        leadmagic_sandbox.set_credits("15432.50")
        assert client.get_credits().credits == Decimal("15432.50")
        assert calls(leadmagic_sandbox) == [("GET", CREDITS)]

    def test_only_credits_are_required(self, client, leadmagic_sandbox):
        leadmagic_sandbox.bare_body = True
        balance = client.get_credits()
        assert (balance.spendable, balance.is_frozen, balance.credits_liquid) == (1000, False, None)

    def test_frozen_balance(self, client, leadmagic_sandbox):
        leadmagic_sandbox.freeze("Unpaid invoice", liquid=40)
        balance = client.get_credits()
        assert (balance.credits, balance.spendable) == (1000, 40)
        assert (balance.is_frozen, balance.freeze_message) == (True, "Unpaid invoice")

    def test_each_call_sends_a_request(self, client, leadmagic_sandbox):
        client.get_credits()
        leadmagic_sandbox.set_credits(3)
        assert client.get_credits().credits == 3

    def test_credits_are_exact(self, client, leadmagic_sandbox):
        leadmagic_sandbox.fail_next(body='{"credits": 0.30000000000000000001}')
        assert client.get_credits().credits == Decimal("0.30000000000000000001")

    @pytest.mark.parametrize(
        ("body", "transient"),
        [
            pytest.param('{"credits": "5"}', False, id="credits in quotes"),
            pytest.param('{"credits": 1e400}', False, id="credits above the range of floats"),
            pytest.param('{"credits": 1e99999999999999999999}', False, id="credits above the range of Decimals"),
            pytest.param('{"credits": 1e-99999999999999999999}', False, id="credits below the range of Decimals"),
            pytest.param("null", False, id="null"),
            pytest.param("", True, id="empty body"),
            pytest.param("<html>Sign in</html>", True, id="HTML"),
            pytest.param('{"credits": 5', True, id="incomplete JSON"),
            pytest.param("[" * 100_000, True, id="a hundred thousand brackets"),
        ],
    )
    def test_response_without_a_valid_balance_is_rejected(self, client, leadmagic_sandbox, body, transient):
        leadmagic_sandbox.fail_next(body=body)
        with pytest.raises(LeadMagicResponseError) as caught:
            client.get_credits()
        assert caught.value.transient is transient
        assert len(str(caught.value)) < 200
        assert len(leadmagic_sandbox.requests) == 1


class TestMaxAge:
    def test_cached_balance_is_returned_within_max_age(self, client, leadmagic_sandbox):
        first = client.get_credits()
        assert client.get_credits(max_age=60) is first
        assert len(leadmagic_sandbox.requests) == 1

    def test_first_call_sends_a_request_for_any_max_age(self, client, leadmagic_sandbox):
        assert client.get_credits(max_age=1e9).credits == 1000
        assert len(leadmagic_sandbox.requests) == 1

    @pytest.mark.parametrize("max_age", ["60", Decimal(60), math.inf], ids=repr)
    def test_max_age_can_be_any_number(self, client, leadmagic_sandbox, max_age):
        assert client.get_credits(max_age=max_age) is client.get_credits(max_age=max_age)
        assert len(leadmagic_sandbox.requests) == 1

    @pytest.mark.parametrize("max_age", ["soon", -1, math.nan, True, [60]], ids=repr)
    def test_invalid_max_age_is_rejected_by_the_first_call(self, client, leadmagic_sandbox, max_age):
        with pytest.raises(ValueError, match=r"^max_age must be a number of seconds, 0 or more; got "):
            client.get_credits(max_age=max_age)
        assert leadmagic_sandbox.requests == []

    @pytest.mark.parametrize(("age", "sends_request"), [(59, False), (60, False), (61, True)])
    def test_age_is_counted_from_the_response(self, client, leadmagic_sandbox, mocker, age, sends_request):
        clock = mocker.patch("airflow_provider_leadmagic.client.time.monotonic", return_value=1000.0)
        client.get_credits()
        clock.return_value += age
        client.get_credits(max_age=60)
        assert (len(leadmagic_sandbox.requests) == 2) is sends_request

    def test_age_does_not_depend_on_the_system_clock(self, client, leadmagic_sandbox, mocker):
        client.get_credits()
        read_at = client._balance_read_at
        mocker.patch("airflow_provider_leadmagic.client.time.time", return_value=0)
        mocker.patch("airflow_provider_leadmagic.client.time.monotonic", return_value=read_at + 61)
        client.get_credits(max_age=60)
        assert len(leadmagic_sandbox.requests) == 2

    def test_cached_balance_is_discarded_after_spending(self, client, leadmagic_sandbox):
        client.get_credits()
        client.enrich("email_finder", **LEAD)
        assert client.get_credits(max_age=3600).credits == 999

    @pytest.mark.parametrize("fault", [{"drop": True}, {"status": 500}, {"body": "{}"}], ids=str)
    def test_cached_balance_is_discarded_by_a_lookup_of_unknown_price(self, client, leadmagic_sandbox, fault):
        client.get_credits()
        leadmagic_sandbox.fail_next(EMAIL_FINDER, **fault)
        with suppress(LeadMagicError):
            client.enrich("email_finder", **LEAD)
        leadmagic_sandbox.set_credits(7)
        assert client.get_credits(max_age=3600).credits == 7

    @pytest.mark.parametrize(("header", "credits"), [("1000", 1000), ("1000.00", 1000), ("993", 7), ("-1", 7)])
    def test_cached_balance_is_discarded_if_a_response_has_another_one_in_its_header(
        self, client, leadmagic_sandbox, header, credits
    ):
        client.get_credits()
        leadmagic_sandbox.fail_next("/v1/credits/health", headers={"X-Credits-Remaining": header}, body="{}")
        client.check_health()
        leadmagic_sandbox.set_credits(7)
        assert client.get_credits(max_age=3600).credits == credits

    def test_failed_request_keeps_the_cached_balance(self, client, leadmagic_sandbox):
        first = client.get_credits()
        leadmagic_sandbox.fail_next(status=403)
        with pytest.raises(LeadMagicError):
            client.get_credits()
        assert client.get_credits(max_age=60) is first
        assert first.observed_at <= datetime.now(UTC)


class TestCreditsRemaining:
    def test_none_before_the_first_response(self, client):
        assert client.credits_remaining is None

    def test_lookup_updates_credits_remaining_without_another_request(self, client, leadmagic_sandbox):
        client.enrich("email_finder", **LEAD)
        assert client.credits_remaining == 999
        assert calls(leadmagic_sandbox) == [("POST", EMAIL_FINDER)]

    @pytest.mark.parametrize("status", [402, 500])
    def test_error_response_updates_credits_remaining(self, leadmagic_sandbox, status):
        with LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url, max_attempts=1) as client:
            leadmagic_sandbox.fail_next(status=status, headers={"X-Credits-Remaining": "2.5"})
            with pytest.raises(LeadMagicError):
                client.get_credits()
            assert client.credits_remaining == Decimal("2.5")

    def test_response_without_the_header_changes_nothing(self, client, leadmagic_sandbox):
        client.get_credits()
        leadmagic_sandbox.fail_next(body='{"credits": 7}')
        client.get_credits()
        assert client.credits_remaining == 1000

    @pytest.mark.parametrize("header", ["", "NaN", "Infinity", "1,000", "1e99999999999999999999"])
    def test_invalid_header_is_ignored(self, client, leadmagic_sandbox, header):
        client.get_credits()
        leadmagic_sandbox.fail_next(headers={"X-Credits-Remaining": header})
        assert client.get_credits().credits == 1000
        assert client.credits_remaining == 1000


class TestRefresh:
    def test_refresh_and_balance_are_requested(self, client, leadmagic_sandbox):
        assert client.refresh_credits().credits == 1000
        assert calls(leadmagic_sandbox) == [("POST", REFRESH), ("GET", CREDITS)]

    @pytest.mark.parametrize("status", [404, 405])
    def test_only_the_balance_is_read_if_the_endpoint_is_missing(self, client, leadmagic_sandbox, status):
        leadmagic_sandbox.fail_next(REFRESH, status=status)
        assert client.refresh_credits().credits == 1000
        assert calls(leadmagic_sandbox) == [("POST", REFRESH), ("GET", CREDITS)]

    @pytest.mark.parametrize("status", [400, 401, 403])
    def test_other_rejections_are_raised(self, client, leadmagic_sandbox, status):
        leadmagic_sandbox.fail_next(REFRESH, status=status)
        with pytest.raises(LeadMagicError) as caught:
            client.refresh_credits()
        assert caught.value.status == status
        assert calls(leadmagic_sandbox) == [("POST", REFRESH)]

    def test_refresh_does_not_use_the_cached_balance(self, client, leadmagic_sandbox):
        client.get_credits()
        leadmagic_sandbox.set_credits(3)
        leadmagic_sandbox.fail_next(REFRESH, body="{}")  # a response without X-Credits-Remaining
        assert client.refresh_credits().credits == 3


class TestHealth:
    def test_valid_key_passes(self, client, leadmagic_sandbox):
        assert client.check_health() is True
        assert calls(leadmagic_sandbox) == [("GET", HEALTH)]

    def test_body_is_ignored(self, client, leadmagic_sandbox):
        leadmagic_sandbox.fail_next(HEALTH, body="fine, thanks", content_type="text/plain")
        assert client.check_health() is True

    def test_invalid_key_is_rejected(self, leadmagic_sandbox):
        with (
            LeadMagicClient("lm_unknown_key", leadmagic_sandbox.url) as client,
            pytest.raises(LeadMagicAuthenticationError),
        ):
            client.check_health()

    @pytest.mark.parametrize("status", [404, 405])
    def test_balance_is_read_if_the_endpoint_is_missing(self, client, leadmagic_sandbox, status):
        leadmagic_sandbox.fail_next(HEALTH, status=status)
        assert client.check_health() is True
        assert calls(leadmagic_sandbox) == [("GET", HEALTH), ("GET", CREDITS)]

    def test_invalid_key_is_rejected_if_the_endpoint_is_missing(self, leadmagic_sandbox):
        leadmagic_sandbox.fail_next(HEALTH, status=404)
        with (
            LeadMagicClient("lm_unknown_key", leadmagic_sandbox.url) as client,
            pytest.raises(LeadMagicAuthenticationError),
        ):
            client.check_health()


class TestLookup:
    def test_lookup_returns_the_response_with_its_price(self, client):
        assert client.enrich("email_finder", **LEAD)["credits_consumed"] == 1

    def test_insufficient_credits_are_reported_with_amounts(self, client, leadmagic_sandbox):
        leadmagic_sandbox.set_credits("0.5")
        with pytest.raises(InsufficientCreditsError) as caught:
            client.enrich("email_finder", **LEAD)
        assert (caught.value.required, caught.value.available) == (1, Decimal("0.5"))

    def test_unknown_product_is_rejected_before_any_request(self, client, leadmagic_sandbox):
        with pytest.raises(ValueError, match=r"^product must be one of email_finder, .*; got 'astrology'$"):
            client.enrich("astrology")
        assert leadmagic_sandbox.requests == []

    def test_rejected_fields_are_explained(self, client):
        with pytest.raises(LeadMagicRequestError, match="Missing required field"):
            client.enrich("email_finder", domain="example.com")

    @pytest.mark.parametrize("body", ["null", "[]"])
    def test_response_that_is_not_an_object_is_rejected(self, client, leadmagic_sandbox, body):
        leadmagic_sandbox.fail_next(EMAIL_FINDER, body=body)
        with pytest.raises(LeadMagicResponseError):
            client.enrich("email_finder", **LEAD)

    @pytest.mark.parametrize("value", [float("nan")])
    def test_value_that_is_not_json_raises_value_error(self, client, value):
        with pytest.raises(ValueError, match=r"JSON|finite"):
            client.enrich("email_finder", full_name="Ada Lovelace", domain=value)


class TestArguments:
    @pytest.mark.parametrize("max_attempts", [0, True, 2.0, "4"])
    def test_invalid_max_attempts_is_rejected(self, max_attempts):
        with pytest.raises(LeadMagicConfigurationError, match="max_attempts must be a whole number") as caught:
            LeadMagicClient("lm_unknown_key", max_attempts=max_attempts)
        assert repr(max_attempts) in str(caught.value)

    @pytest.mark.parametrize("timeout", [0, -1, True, None, "soon", float("nan"), "1e400"])
    def test_invalid_timeout_is_rejected(self, timeout):
        with pytest.raises(LeadMagicConfigurationError, match="timeout must be a number of seconds above 0") as caught:
            LeadMagicClient("lm_unknown_key", timeout=timeout)
        assert repr(timeout) in str(caught.value)

    @pytest.mark.parametrize(
        "timeout", [pytest.param(10**400, id="401 digits"), pytest.param(1e300, id="1e300"), 99_999_999_999]
    )
    def test_too_long_timeout_is_rejected(self, timeout):
        with pytest.raises(LeadMagicConfigurationError, match="timeout must be"):
            LeadMagicClient("lm_unknown_key", timeout=timeout)

    @pytest.mark.parametrize(("given", "seconds"), [(5, 5.0), (0.25, 0.25), ("2.5", 2.5), (" 7 ", 7.0)])
    def test_timeout_can_be_numeric_text(self, given, seconds):
        assert parse_timeout("timeout", given) == seconds

    @pytest.mark.parametrize("api_key", ["", " \n", None, b"lm_bytes"], ids=repr)
    def test_empty_key_is_rejected(self, api_key):
        with pytest.raises(LeadMagicConfigurationError, match="the API key is empty"):
            LeadMagicClient(api_key)

    def test_blanks_around_a_key_are_removed(self, leadmagic_sandbox):
        with LeadMagicClient(f" {leadmagic_sandbox.api_key}\n", leadmagic_sandbox.url) as client:
            assert client.get_credits().credits == 1000
