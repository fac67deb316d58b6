"""Tests of CreditsRunway: requests, arithmetic, and invalid usage reports."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from airflow_provider_leadmagic.api.models import CreditBalance, CreditsRunway, rounded_down
from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.exceptions import (
    LeadMagicAuthenticationError,
    LeadMagicNotFoundError,
    LeadMagicResponseError,
)
from tests.support.sandbox_requests import calls

USAGE, CREDITS, REFRESH = "/v1/analytics/credits", "/v1/credits", "/v1/credits/refresh"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def _noon(monkeypatch):
    """Set the clock of the sandbox to noon, so that no test runs past midnight."""
    monkeypatch.setattr("time.time", lambda: NOON.timestamp())


def runway(credits, spent, days=7):
    """Return a runway with a balance observed at noon."""
    return CreditsRunway(CreditBalance(Decimal(credits), NOON), Decimal(spent), days)


class TestRequests:
    @pytest.mark.usefixtures("_noon")
    def test_default_window_is_seven_days(self, client, leadmagic_sandbox):
        for days_ago, spent in [(0, 5), (6, 9), (7, 1000)]:
            leadmagic_sandbox.record_spending("email_finder", spent, days_ago)
        runway = client.credits_runway()
        assert (runway.balance.spendable, runway.spent, runway.days) == (1000, 14, 7)
        assert (runway.daily_credits, runway.days_left) == (2, 500)

    def test_runway_sends_two_free_requests(self, client, leadmagic_sandbox):
        client.credits_runway()
        assert calls(leadmagic_sandbox) == [("GET", CREDITS), ("GET", USAGE)]
        assert client.credits_remaining == leadmagic_sandbox.credits == 1000

    @pytest.mark.usefixtures("_noon")
    @pytest.mark.parametrize(("days", "daily"), [(1, 10), (7, 2), (90, 1)])
    def test_average_is_over_the_given_window(self, client, leadmagic_sandbox, days, daily):
        for days_ago, spent in [(0, 10), (6, 4), (89, 76), (90, 1000)]:
            leadmagic_sandbox.record_spending("email_finder", spent, days_ago)
        assert client.credits_runway(days).daily_credits == daily

    @pytest.mark.parametrize("days", [0, 91, -1, True, 1.5, "7", None], ids=repr)
    def test_invalid_window_is_rejected_before_any_request(self, client, leadmagic_sandbox, days):
        with pytest.raises(ValueError, match=r"^days must be a whole number from 1 to 90; got "):
            client.credits_runway(days)
        assert leadmagic_sandbox.requests == []

    def test_refresh_is_requested_first(self, client, leadmagic_sandbox):
        client.credits_runway(refresh=True)
        assert calls(leadmagic_sandbox) == [("POST", REFRESH), ("GET", CREDITS), ("GET", USAGE)]

    def test_cached_balance_is_not_used(self, client, leadmagic_sandbox):
        client.get_credits()
        leadmagic_sandbox.set_credits(3)
        leadmagic_sandbox.fail_next(USAGE, body='{"summary": {"total_credits": 7}}')  # without X-Credits-Remaining
        assert client.credits_runway().balance.credits == 3

    def test_only_spendable_credits_count(self, client, leadmagic_sandbox):
        leadmagic_sandbox.record_spending("email_finder", 70)
        leadmagic_sandbox.freeze(liquid=30)
        assert client.credits_runway().days_left == 3

    def test_wrapped_usage_is_supported(self, client, leadmagic_sandbox):
        leadmagic_sandbox.wrap_analytics = True
        leadmagic_sandbox.record_spending("email_finder", 7)
        assert client.credits_runway().daily_credits == 1

    def test_fractions_are_exact(self, client, leadmagic_sandbox):
        leadmagic_sandbox.record_spending("email_finder", "0.1")
        leadmagic_sandbox.record_spending("email_finder", "0.2")
        assert client.credits_runway().spent == Decimal("0.3")

    @pytest.mark.parametrize("path", [USAGE, CREDITS])
    def test_transient_error_is_retried(self, client, leadmagic_sandbox, sleeps, path):
        leadmagic_sandbox.fail_next(path, status=503)
        assert client.credits_runway().balance.credits == 1000
        assert len(leadmagic_sandbox.requests_to(path)) == 2

    @pytest.mark.parametrize(("status", "error"), [(401, LeadMagicAuthenticationError), (404, LeadMagicNotFoundError)])
    @pytest.mark.parametrize("path", [USAGE, CREDITS])
    def test_error_response_is_raised(self, client, leadmagic_sandbox, path, status, error):
        leadmagic_sandbox.fail_next(path, status=status)
        with pytest.raises(error, match=rf" \({status} \w+\): .*{path}"):
            client.credits_runway()

    @pytest.mark.parametrize(
        ("path", "observed"),
        [(CREDITS, ["LeadMagicAuthenticationError"]), (USAGE, ["1000"])],
        ids=["no balance", "no usage"],
    )
    def test_observer_receives_the_balance_or_its_error(self, leadmagic_sandbox, mocker, path, observed):
        leadmagic_sandbox.fail_next(path, status=401)
        observer = mocker.Mock()
        client = LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url, observer=observer)
        with client, pytest.raises(LeadMagicAuthenticationError):
            client.credits_runway()
        balances = [str(call.args[0].credits) for call in observer.seen.call_args_list]
        errors = [type(call.args[0]).__name__ for call in observer.failed.call_args_list]
        assert balances + errors == observed


class TestInvalidUsage:
    @pytest.mark.parametrize(
        "body",
        [
            pytest.param("{}", id="no summary"),
            pytest.param('{"data": {}}', id="no summary under data"),
            pytest.param('{"summary": null}', id="summary of null"),
            pytest.param('{"summary": []}', id="summary that is a list"),
            pytest.param('{"summary": 70}', id="summary that is a number"),
            pytest.param('{"summary": {}}', id="no total"),
            pytest.param('{"summary": {"total_credits": null}}', id="null"),
            pytest.param('{"summary": {"total_credits": "70"}}', id="text"),
            pytest.param('{"summary": {"total_credits": true}}', id="true"),
            pytest.param('{"summary": {"total_credits": [70]}}', id="list"),
            pytest.param('{"summary": {"total_credits": NaN}}', id="NaN"),
            pytest.param('{"summary": {"total_credits": -Infinity}}', id="-Infinity"),
            pytest.param('{"summary": {"total_credits": 1e400}}', id="above the range of floats"),
            pytest.param('{"summary": {"total_credits": 1%s}}' % ("0" * 400), id="integer above the range of floats"),
        ],
    )
    def test_total_that_is_not_a_finite_number_is_rejected(self, client, leadmagic_sandbox, body):
        leadmagic_sandbox.fail_next(USAGE, body=body)
        with pytest.raises(LeadMagicResponseError) as caught:
            client.credits_runway()
        assert str(caught.value) == "Invalid usage report: `summary.total_credits` is not a finite number"
        assert not caught.value.transient

    @pytest.mark.parametrize("body", ["[]", "null", "<html>"])
    def test_usage_that_is_not_an_object_is_rejected(self, client, leadmagic_sandbox, body):
        leadmagic_sandbox.fail_next(USAGE, body=body)
        with pytest.raises(LeadMagicResponseError, match=USAGE):
            client.credits_runway()


class TestArithmetic:
    @pytest.mark.parametrize(
        ("credits", "spent", "days", "days_left"),
        [
            pytest.param("100", "70", 7, "10", id="ten a day"),
            pytest.param("15.5", "0.5", 1, "31", id="fractions"),
            pytest.param("100", "1", 90, "9000", id="90 days"),
            pytest.param("5", "70", 7, "0.5", id="half a day"),
            pytest.param("10", "10", 7, "7", id="equal to the spending, not divisible by seven"),
            pytest.param("1000", "1000", 7, "7", id="equal to a larger spending, not divisible by seven"),
            pytest.param("0", "70", 7, "0", id="nothing left"),
            pytest.param("-5", "70", 7, "0", id="negative balance"),
            pytest.param("0", "0", 7, "0", id="nothing left and nothing spent"),
            pytest.param("-5", "0", 7, "0", id="negative balance and nothing spent"),
            pytest.param("100", "0", 7, None, id="nothing spent"),
            pytest.param("100", "-70", 7, None, id="negative spending"),
            pytest.param("1e60", "1e-9", 7, "7e69", id="huge balance"),
        ],
    )
    def test_days_left(self, credits, spent, days, days_left):
        expected = None if days_left is None else Decimal(days_left)
        assert runway(credits, spent, days).days_left == expected

    @pytest.mark.parametrize(
        ("credits", "spent", "minimum", "covers"),
        [
            pytest.param("71", "70", 7, True, id="more"),
            pytest.param("70", "70", 7, True, id="equal"),
            pytest.param("10", "10", 7, True, id="equal, not divisible by seven"),
            pytest.param("69.99", "70", 7, False, id="fewer"),
            pytest.param("100", "0", 10**9, True, id="nothing spent"),
            pytest.param("0", "0", "0.01", False, id="nothing left and nothing spent"),
            pytest.param("0", "70", 0, True, id="nothing left and nothing required"),
        ],
    )
    def test_runway_covers_up_to_its_days_left(self, credits, spent, minimum, covers):
        assert runway(credits, spent).covers(Decimal(minimum)) is covers

    @pytest.mark.parametrize(
        ("credits", "spent", "moment"),
        [
            pytest.param("15", "70", NOON + timedelta(days=1.5), id="in a day and a half"),
            pytest.param("0", "70", NOON, id="at the observation"),
            pytest.param("-5", "70", NOON, id="negative balance"),
            pytest.param("100", "0", None, id="never"),
            pytest.param("2912000", "1", None, id="beyond the year 9999"),
            pytest.param("1e300", "1e-300", None, id="above the range of floats"),
        ],
    )
    def test_runs_out_at_is_in_utc(self, credits, spent, moment):
        assert runway(credits, spent).runs_out_at == moment

    @pytest.mark.parametrize(
        ("spent", "days", "credits"), [("70", 3, 30), ("10", 7, 10), ("0", 3, None), ("-70", 3, None)]
    )
    def test_credits_for_a_number_of_days(self, spent, days, credits):
        assert runway(100, spent).credits_for(Decimal(days)) == credits

    def test_runway_is_immutable(self):
        with pytest.raises(FrozenInstanceError):
            runway(100, 70).spent = Decimal(0)  # type: ignore[misc]


class TestReport:
    @pytest.mark.parametrize(
        ("credits", "spent", "report"),
        [
            pytest.param("15", "70", (1.5, "2026-02-02T00:00:00+00:00", 10), id="some"),
            pytest.param("70", "70", (7, "2026-02-07T12:00:00+00:00", 10), id="whole numbers"),
            pytest.param("0", "70", (0, "2026-01-31T12:00:00+00:00", 10), id="nothing left"),
            pytest.param("100", "0", (None, None, 0), id="nothing spent"),
            pytest.param("100", "0.01", (70000, "2217-09-27T12:00:00+00:00", 0), id="almost nothing spent"),
            pytest.param("100", "1000", (0.7, "2026-02-01T04:48:00+00:00", 142.86), id="rounded average"),
            pytest.param("69.999", "70", (6.99, "2026-02-07T11:59:51.360000+00:00", 10), id="just short of a week"),
            pytest.param("1e60", "7e30", (1e30, None, 1e30), id="huge balance"),
        ],
    )
    def test_report_is_plain_json(self, credits, spent, report):
        days_left, runs_out_at, daily = report
        expected = {"runway_days": days_left, "runs_out_at": runs_out_at, "daily_credits": daily}
        assert json.loads(json.dumps(runway(credits, spent).report(), allow_nan=False)) == expected

    @pytest.mark.parametrize(("number", "rounded"), [("6.999", "6.9"), ("6.9", "6.9"), ("7", "7"), ("1e60", "1e60")])
    def test_days_are_rounded_down(self, number, rounded):
        assert rounded_down(Decimal(number), 1) == Decimal(rounded)
