"""Tests of client.analytics: requests, responses, and the validation of windows and dates."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.exceptions import (
    LeadMagicAuthenticationError,
    LeadMagicConnectionError,
    LeadMagicNotFoundError,
    LeadMagicPermissionError,
    LeadMagicResponseError,
    LeadMagicServerError,
)
from tests.support.responses import sized

ROOT = "/v1/analytics"
DASHBOARD = f"{ROOT}/dashboard"
SUMMARY_KEYS = {
    "total_api_requests",
    "total_credits_consumed",
    "unique_products_used",
    "successful_requests",
    "failed_requests",
    "success_rate",
    "avg_response_time_ms",
    "first_request",
    "last_request",
}
#: Method, arguments, and the keys of the response according to LeadMagic's documentation.
METHODS = [
    pytest.param("dashboard", [], {"user", "credits", "rate_limit", "concurrency", "stats"}, id="dashboard"),
    pytest.param("usage", [], {"period", "summary", "daily"}, id="usage"),
    pytest.param("products", [], {"period", "products", "daily"}, id="products"),
    pytest.param("credits", [], {"period", "summary", "daily"}, id="credits"),
    pytest.param("summary", [], SUMMARY_KEYS, id="summary"),
    pytest.param("daily", [], {"period", "data"}, id="daily"),
    pytest.param("day", ["2026-01-31"], {"date", "summary", "products"}, id="day"),
]
METHODS_WITH_DAYS = ["usage", "products", "credits", "daily"]
CALIFORNIA = timezone(timedelta(hours=-8))


@pytest.fixture
def request_target(serve):
    """Return a function that calls a method and returns the target of the request."""

    def call(name, *args, **kwargs):
        server = serve(sized(b"{}"))
        with LeadMagicClient("lm_unknown_key", server.url) as client:
            assert getattr(client.analytics, name)(*args, **kwargs) == {}
        [request] = server.requests
        method, target, _ = request.split(b"\r\n")[0].decode().split(" ")
        assert method == "GET"
        return target

    return call


class TestResponses:
    @pytest.mark.parametrize("wrapped", [False, True], ids=["not wrapped", "wrapped"])
    @pytest.mark.parametrize(("name", "args", "keys"), METHODS)
    def test_response_object_is_returned_without_its_wrapper(
        self, client, leadmagic_sandbox, name, args, keys, wrapped
    ):
        leadmagic_sandbox.wrap_analytics = wrapped
        assert set(getattr(client.analytics, name)(*args)) == keys

    @pytest.mark.parametrize(("name", "args", "keys"), METHODS)
    def test_each_method_sends_one_free_get(self, client, leadmagic_sandbox, name, args, keys):
        getattr(client.analytics, name)(*args)
        [request] = leadmagic_sandbox.requests
        assert (request.method, request.path) == ("GET", "/".join([ROOT, name, *args]))
        assert client.credits_remaining == leadmagic_sandbox.credits == 1000

    @pytest.mark.parametrize("siblings", [{}, {"success": True}, {"meta": {"request_id": "r1"}}], ids=str)
    def test_fields_next_to_the_wrapped_object_are_dropped(self, client, leadmagic_sandbox, siblings):
        leadmagic_sandbox.fail_next(DASHBOARD, body=json.dumps({**siblings, "data": {"credits": {"current": 5}}}))
        assert client.analytics.dashboard() == {"credits": {"current": 5}}

    @pytest.mark.parametrize("body", [{"data": []}, {"data": None}, {}], ids=str)
    def test_data_that_is_not_an_object_is_not_a_wrapper(self, client, leadmagic_sandbox, body):
        leadmagic_sandbox.fail_next(DASHBOARD, body=json.dumps(body))
        assert client.analytics.dashboard() == body

    def test_numbers_are_int_or_float(self, client, leadmagic_sandbox):
        leadmagic_sandbox.record_spending("email_finder", "12.05")
        leadmagic_sandbox.record_spending("email_finder", 0)
        summary = client.analytics.credits()["summary"]
        assert (summary["total_credits"], summary["total_requests"]) == (12.05, 2)
        assert [type(summary[name]) for name in ("total_credits", "total_requests")] == [float, int]

    def test_credits_are_reported_on_the_day_they_were_spent(self, client, leadmagic_sandbox, monkeypatch):
        noon = datetime(2026, 2, 3, 12, tzinfo=UTC).timestamp()
        monkeypatch.setattr("time.time", lambda: noon)  # for the sandbox: the test must not run past midnight
        for days_ago, spent in enumerate([1, 10, 100]):
            leadmagic_sandbox.record_spending("email_finder", spent, days_ago)
        analytics = client.analytics
        assert analytics.credits(2)["summary"]["total_credits"] == 11
        assert analytics.summary(end_date="2026-02-02")["total_credits_consumed"] == 110
        assert analytics.day(date(2026, 2, 1))["summary"]["total_credits"] == 100


class TestWindow:
    @pytest.mark.parametrize("name", METHODS_WITH_DAYS)
    def test_default_is_thirty_days(self, request_target, name):
        assert request_target(name) == f"{ROOT}/{name}?days=30"

    @pytest.mark.parametrize("days", [1, 7, 90])
    @pytest.mark.parametrize("name", METHODS_WITH_DAYS)
    def test_days_are_sent_as_query_parameter(self, request_target, name, days):
        assert request_target(name, days) == f"{ROOT}/{name}?days={days}"

    @pytest.mark.parametrize("days", [0, 91, -1, True, 1.5, 7.0, "7", None, float("nan"), [7]], ids=repr)
    @pytest.mark.parametrize("name", METHODS_WITH_DAYS)
    def test_invalid_value_is_rejected_before_any_request(self, client, leadmagic_sandbox, name, days):
        with pytest.raises(ValueError, match=r"^days must be a whole number from 1 to 90; got ") as caught:
            getattr(client.analytics, name)(days)
        assert str(caught.value).endswith(repr(days))
        assert leadmagic_sandbox.requests == []


class TestDates:
    @pytest.mark.parametrize(
        ("first", "last", "query"),
        [
            pytest.param(None, None, "", id="none"),
            pytest.param("2026-01-01", None, "?start_date=2026-01-01", id="start"),
            pytest.param(None, "2026-01-31", "?end_date=2026-01-31", id="end"),
            pytest.param("2026-01-01", "2026-01-31", "?start_date=2026-01-01&end_date=2026-01-31", id="both"),
            pytest.param("2026-01-31", "2026-01-31", "?start_date=2026-01-31&end_date=2026-01-31", id="one day"),
        ],
    )
    def test_summary_sends_only_the_given_dates(self, request_target, first, last, query):
        assert request_target("summary", start_date=first, end_date=last) == f"{ROOT}/summary{query}"

    @pytest.mark.parametrize(
        ("given", "sent"),
        [
            pytest.param("2026-01-31", "2026-01-31", id="text"),
            pytest.param("20260131", "2026-01-31", id="text without dashes"),
            pytest.param(date(2026, 1, 31), "2026-01-31", id="date"),
            pytest.param(date(999, 1, 31), "0999-01-31", id="year with three digits"),
            pytest.param(datetime(2026, 1, 31, 23, 59), "2026-01-31", id="datetime"),
            pytest.param(datetime(2026, 1, 31, 23, tzinfo=CALIFORNIA), "2026-01-31", id="datetime with a time zone"),
        ],
    )
    def test_date_can_be_a_date_datetime_or_text(self, request_target, given, sent):
        assert request_target("day", given) == f"{ROOT}/day/{sent}"
        assert request_target("summary", given, given) == f"{ROOT}/summary?start_date={sent}&end_date={sent}"

    @pytest.mark.parametrize("argument", ["start_date", "end_date", "day"])
    @pytest.mark.parametrize(
        "value",
        [
            "2026-02-30",
            "yesterday",
            "",
            "2026-1-31",
            "2026-01-31T00:00",
            "../credits",
            5,
            20260131,
            True,
            b"2026-01-31",
        ],
        ids=repr,
    )
    def test_invalid_value_is_rejected_before_any_request(self, client, leadmagic_sandbox, argument, value):
        call = client.analytics.day if argument == "day" else client.analytics.summary
        with pytest.raises(ValueError, match=f"^{argument} must be a date, or text like 2026-01-31; got ") as caught:
            call(**{argument: value})
        assert str(caught.value).endswith(repr(value))
        assert leadmagic_sandbox.requests == []

    def test_day_is_required(self, client):
        with pytest.raises(ValueError, match=r"^day must be a date, or text like 2026-01-31; got None$"):
            client.analytics.day(None)

    @pytest.mark.parametrize("first", ["2026-02-01", date(2026, 2, 1)], ids=repr)
    def test_start_after_end_is_rejected_before_any_request(self, client, leadmagic_sandbox, first):
        message = r"^start_date must not be after end_date; got 2026-02-01 and 2026-01-31$"
        with pytest.raises(ValueError, match=message):
            client.analytics.summary(first, "2026-01-31")
        assert leadmagic_sandbox.requests == []


class TestFailures:
    @pytest.mark.parametrize(("name", "args", "keys"), METHODS)
    def test_transient_error_is_retried(self, client, leadmagic_sandbox, sleeps, name, args, keys):
        leadmagic_sandbox.fail_next("*", status=503, times=3)
        assert set(getattr(client.analytics, name)(*args)) == keys
        assert len(leadmagic_sandbox.requests) == 4

    @pytest.mark.parametrize(
        ("fault", "error", "words"),
        [
            pytest.param({"status": 401}, LeadMagicAuthenticationError, "check the client's api_key", id="401"),
            pytest.param({"status": 403}, LeadMagicPermissionError, "check the client's plan and role", id="403"),
            pytest.param(
                {"status": 404, "body": "<html>Nothing here</html>", "content_type": "text/html"},
                LeadMagicNotFoundError,
                r"^Not found \(404\): ",
                id="404 page",
            ),
            pytest.param({"status": 500}, LeadMagicServerError, r"^Server error \(500 INTERNAL_ERROR\): ", id="500"),
            pytest.param({"drop": True}, LeadMagicConnectionError, "Connection closed by the server", id="no response"),
            pytest.param({"body": "<html>Sign in</html>"}, LeadMagicResponseError, "not JSON", id="HTML"),
            pytest.param({"body": ""}, LeadMagicResponseError, "not JSON", id="empty body"),
            pytest.param({"body": "[]"}, LeadMagicResponseError, "Response is not a JSON object", id="list"),
            pytest.param({"body": "null"}, LeadMagicResponseError, "Response is not a JSON object", id="null"),
            pytest.param({"body": "5"}, LeadMagicResponseError, "Response is not a JSON object", id="number"),
            pytest.param(
                {"redirect_to": "https://example.com/"}, LeadMagicResponseError, r"^Redirected \(302\): ", id="redirect"
            ),
        ],
    )
    @pytest.mark.usefixtures("sleeps")
    def test_persistent_failure_raises_an_error_with_the_request(self, client, leadmagic_sandbox, fault, error, words):
        leadmagic_sandbox.fail_next("*", **fault, times=None)
        with pytest.raises(error, match=words) as caught:
            client.analytics.usage(7)
        assert f"{ROOT}/usage?days=7" in str(caught.value)
        assert leadmagic_sandbox.api_key not in str(caught.value)

    @pytest.mark.parametrize("body", ['{"title": "Key %s is unknown"}', '{"errors": [{"detail": "%s"}]}'])
    def test_api_key_quoted_by_the_server_is_hidden(self, client, leadmagic_sandbox, body):
        leadmagic_sandbox.fail_next("*", status=401, body=body % leadmagic_sandbox.api_key)
        with pytest.raises(LeadMagicAuthenticationError) as caught:
            client.analytics.dashboard()
        assert leadmagic_sandbox.api_key not in f"{caught.value} {vars(caught.value)}"
