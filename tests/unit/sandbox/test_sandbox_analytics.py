from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
import requests

ROOT = "/v1/analytics"
FINDER = "/v1/people/email-finder"
VALIDATION = "/v1/people/email-validation"
MOBILE = "/v1/people/mobile-finder"

TODAY = date(2026, 2, 3)
OVER_A_WINDOW = ["usage", "products", "credits", "daily"]
PATHS = ["dashboard", *OVER_A_WINDOW, "summary", "day/2026-02-03"]


@pytest.fixture(autouse=True)
def set_clock(leadmagic_sandbox, monkeypatch):
    """Set the time in the sandbox to noon, so that no test runs across midnight."""

    def set_clock(day, *time):
        now = datetime(2026, 2, day, *time, tzinfo=UTC).timestamp()
        monkeypatch.setattr("time.time", lambda: now)

    set_clock(TODAY.day, 12)
    return set_clock


@pytest.fixture
def read(call):
    """Read one of the analytics reports."""

    def read(path, **parameters):
        response = call("GET", f"{ROOT}/{path}", params=parameters)
        assert response.status_code == 200
        return response.json()

    return read


@pytest.fixture
def history(leadmagic_sandbox, call, find_email):
    """Record two hits, a miss and an error today, a hit yesterday, and one ten days ago."""
    find_email()
    find_email("notfound.example.com")
    call("POST", VALIDATION, json={"email": "jane@example.com"})
    leadmagic_sandbox.fail_next(MOBILE, status=503)
    call("POST", MOBILE, json={"profile_url": "jane-doe"})
    leadmagic_sandbox.record_spending("mobile_finder", 5, days_ago=1)
    leadmagic_sandbox.record_spending("email_finder", "12.5", days_ago=10)


PERIOD = {"start": "2026-02-01", "end": "2026-02-03", "days": 2}


@pytest.mark.usefixtures("history")
class TestBodies:
    def test_the_dashboard(self, read):
        assert read("dashboard") == {
            "user": {"id": "user_sandbox", "email": "sandbox@example.com"},
            "credits": {"current": 998.75, "formatted": "$9.99"},
            "rate_limit": {
                "minute": {"limit": 600, "used": 5, "remaining": 595, "utilization": 0.83},
                "daily": {"limit": 500000, "used": 5, "remaining": 499995, "utilization": 0},
            },
            "concurrency": {"current": 0, "peak": 0, "active_reservations": 0},
            "stats": {
                "today": {
                    "requests": 4,
                    "credits": 1.25,
                    "chargeable_requests": 2,
                    "chargeable_rate": 50,
                    "unique_products": 3,
                },
                "this_week": {
                    "requests": 5,
                    "credits": 6.25,
                    "chargeable_requests": 3,
                    "chargeable_rate": 60,
                    "unique_products": 3,
                },
                "this_month": {
                    "requests": 6,
                    "credits": 18.75,
                    "chargeable_requests": 4,
                    "chargeable_rate": 66.67,
                    "unique_products": 3,
                },
            },
        }

    def test_the_usage(self, read):
        assert read("usage", days=2) == {
            "period": PERIOD,
            "summary": {
                "total_requests": 5,
                "chargeable_requests": 3,
                "total_credits": 6.25,
                "avg_credits_per_request": 1.25,
                "chargeable_rate": 60,
                "unique_products": 3,
            },
            "daily": [
                {
                    "date": "2026-02-02",
                    "total_requests": 1,
                    "chargeable_requests": 1,
                    "total_credits": 5,
                    "unique_products_used": 1,
                },
                {
                    "date": "2026-02-03",
                    "total_requests": 4,
                    "chargeable_requests": 2,
                    "total_credits": 1.25,
                    "unique_products_used": 3,
                },
            ],
        }

    def test_the_products(self, read):
        assert read("products", days=2) == {
            "period": PERIOD,
            "products": {
                "email_finder": {
                    "total_requests": 2,
                    "total_credits": 1,
                    "successful_requests": 1,
                    "failed_requests": 1,
                    "success_rate": 50,
                    "avg_credits_per_request": 0.5,
                },
                "email_validation": {
                    "total_requests": 1,
                    "total_credits": 0.25,
                    "successful_requests": 1,
                    "failed_requests": 0,
                    "success_rate": 100,
                    "avg_credits_per_request": 0.25,
                },
                "mobile_finder": {
                    "total_requests": 2,
                    "total_credits": 5,
                    "successful_requests": 1,
                    "failed_requests": 1,
                    "success_rate": 50,
                    "avg_credits_per_request": 2.5,
                },
            },
            "daily": [],
        }

    def test_the_credits(self, read):
        assert read("credits", days=2) == {
            "period": PERIOD,
            "summary": {
                "total_credits": 6.25,
                "total_requests": 5,
                "chargeable_requests": 3,
                "avg_credits_per_request": 1.25,
                "chargeable_rate": 60,
            },
            "daily": [
                {"date": "2026-02-02", "total_credits": 5, "total_requests": 1, "chargeable_requests": 1},
                {"date": "2026-02-03", "total_credits": 1.25, "total_requests": 4, "chargeable_requests": 2},
            ],
        }

    def test_the_summary(self, read):
        assert read("summary") == {
            "total_api_requests": 6,
            "total_credits_consumed": 18.75,
            "unique_products_used": 3,
            "successful_requests": 5,
            "failed_requests": 1,
            "success_rate": 83.33,
            "avg_response_time_ms": 0,
            "first_request": "2026-01-24T12:00:00.000Z",
            "last_request": "2026-02-03T12:00:00.000Z",
        }

    def test_the_daily_metrics(self, read):
        latencies = {"p50_latency_ms": 0, "p95_latency_ms": 0, "p99_latency_ms": 0}
        assert read("daily", days=2) == {
            "period": PERIOD,
            "data": [
                {
                    "date": "2026-02-02",
                    "total_requests": 1,
                    "successful_requests": 1,
                    "failed_requests": 0,
                    "total_credits": 5,
                    "error_rate": 0,
                    **latencies,
                },
                {
                    "date": "2026-02-03",
                    "total_requests": 4,
                    "successful_requests": 3,
                    "failed_requests": 1,
                    "total_credits": 1.25,
                    "error_rate": 25,
                    **latencies,
                },
            ],
        }

    def test_the_day(self, read):
        names = ("product_id", "requests", "credits", "credits_percentage", "avg_credits_per_request", "max_credits")
        rows = [
            ("email_finder", 2, 1, 80, 0.5, 1),
            ("email_validation", 1, 0.25, 20, 0.25, 0.25),
            ("mobile_finder", 1, 0, 0, 0, 0),
        ]
        assert read("day/2026-02-03") == {
            "date": "2026-02-03",
            "summary": {"total_credits": 1.25, "total_requests": 4, "products_count": 3},
            "products": [dict(zip(names, row, strict=True)) for row in rows],
        }

    @pytest.mark.parametrize("path", PATHS)
    def test_reading_is_free(self, call, path):
        assert call("GET", f"{ROOT}/{path}").headers["X-Credits-Remaining"] == "998.75"


@pytest.mark.parametrize("path", PATHS)
def test_a_wrapped_body_is_the_bare_one_under_data(leadmagic_sandbox, control, read, path):
    bare = read(path)
    control("DELETE", "requests")
    leadmagic_sandbox.wrap_analytics = True
    assert read(path) == {"data": bare}


class TestWindow:
    @pytest.fixture(autouse=True)
    def _one_credit_on_each_day(self, leadmagic_sandbox):
        for days_ago in range(100):
            leadmagic_sandbox.record_spending("email_finder", 1, days_ago)

    @pytest.mark.parametrize(("parameters", "days"), [({}, 30), ({"days": 1}, 1), ({"days": 7}, 7), ({"days": 90}, 90)])
    @pytest.mark.parametrize("path", ["usage", "credits"])
    def test_it_has_the_requested_number_of_days(self, read, path, parameters, days):
        body = read(path, **parameters)
        assert (body["period"]["days"], body["summary"]["total_credits"], len(body["daily"])) == (days, days, days)

    @pytest.mark.parametrize("path", OVER_A_WINDOW)
    def test_the_period_ends_today_and_starts_the_day_before_the_first_day_of_the_window(self, read, path):
        assert read(path, days=30)["period"] == {"start": "2026-01-04", "end": "2026-02-03", "days": 30}

    @pytest.mark.parametrize(("path", "rows"), [("usage", "daily"), ("credits", "daily"), ("daily", "data")])
    def test_its_days_are_in_ascending_order_without_gaps(self, read, path, rows):
        days = [date.fromisoformat(row["date"]) for row in read(path, days=40)[rows]]
        assert (days[0], days[-1]) == (TODAY - timedelta(days=39), TODAY)
        assert {after - before for before, after in pairwise(days)} == {timedelta(days=1)}


@pytest.mark.parametrize(("path", "rows"), [("usage", "daily"), ("credits", "daily"), ("daily", "data")])
def test_a_day_without_requests_has_a_row_of_zeros(leadmagic_sandbox, read, path, rows):
    leadmagic_sandbox.record_spending("email_finder", 1, days_ago=2)
    row = read(path, days=3)[rows][1]
    assert row.pop("date") == "2026-02-02"
    assert set(row.values()) == {0}


def test_a_day_ends_at_midnight_in_utc(set_clock, read, find_email):
    for moment in [(3, 0, 0, 0), (3, 23, 59, 59), (4, 0, 0, 0)]:
        set_clock(*moment)
        find_email()
    days = {row["date"]: row["total_requests"] for row in read("daily", days=3)["data"]}
    assert days == {"2026-02-02": 0, "2026-02-03": 2, "2026-02-04": 1}


@pytest.mark.parametrize("days", ["0", "91", "-1", "1.5", "07", "", "many", "\u0663"])
@pytest.mark.parametrize("path", OVER_A_WINDOW)
def test_an_invalid_window_is_rejected(call, path, days):
    response = call("GET", f"{ROOT}/{path}", params={"days": days})
    assert (response.status_code, response.headers["Content-Type"]) == (400, "application/problem+json")
    error = response.json()["errors"][0]
    assert (error["code"], error["param"]) == ("validation_error", ["days"])
    assert error["detail"] == "days must be a whole number from 1 to 90."


@pytest.mark.parametrize("invalid", ["today", "20260203", "2026-W06-2", "2026-2-3", "2026-02-30", "2026-02-03T00"])
@pytest.mark.parametrize(
    ("path", "name"), [("day/{}", "date"), ("summary?start_date={}", "start_date"), ("summary?end_date={}", "end_date")]
)
def test_an_invalid_date_is_rejected(call, path, name, invalid):
    response = call("GET", f"{ROOT}/{path.format(invalid)}")
    error = response.json()["errors"][0]
    assert (response.status_code, error["code"], error["param"]) == (400, "validation_error", [name])


@pytest.mark.parametrize(
    ("parameters", "credits"),
    [
        ({}, 111),
        ({"start_date": "2026-02-02"}, 11),
        ({"end_date": "2026-02-02"}, 110),
        ({"start_date": "2026-02-02", "end_date": "2026-02-02"}, 10),
        ({"start_date": "2026-02-03", "end_date": "2026-02-01"}, 0),
    ],
)
def test_a_summary_covers_the_days_from_start_to_end(leadmagic_sandbox, read, parameters, credits):
    for days_ago, spent in enumerate([1, 10, 100]):
        leadmagic_sandbox.record_spending("email_finder", spent, days_ago)
    assert read("summary", **parameters)["total_credits_consumed"] == credits


def test_the_initial_summary_is_empty(read):
    summary = read("summary")
    assert (summary.pop("first_request"), summary.pop("last_request")) == (None, None)
    assert set(summary.values()) == {0}


@pytest.mark.parametrize(
    ("fault", "failed"),
    [
        ({"status": 400}, 1),
        ({"status": 429, "retry_after": 0}, 1),
        ({"status": 500}, 1),
        ({"drop": True}, 1),
        ({"status": 401}, 0),
        ({"truncate": True}, 0),
    ],
    ids=str,
)
def test_an_error_or_no_response_is_a_failed_request_except_without_a_valid_key(
    leadmagic_sandbox, find_email, read, fault, failed
):
    leadmagic_sandbox.fail_next(FINDER, **fault)
    try:
        find_email()
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        assert "status" not in fault
    assert read("daily", days=1)["data"][0]["failed_requests"] == failed


def test_a_lookup_that_the_credits_do_not_cover_is_a_failed_request(leadmagic_sandbox, find_email, read):
    leadmagic_sandbox.set_credits(0)
    find_email()
    assert read("daily", days=1)["data"][0]["failed_requests"] == 1


def test_only_requests_for_a_product_are_counted(call, read):
    for path in ("/v1/credits", "/v1/credits/health", "/nowhere", f"{ROOT}/usage?days=0"):
        call("GET", path)
    assert read("summary")["total_api_requests"] == 0


def test_lookups_are_counted_even_if_the_log_is_cleared(control, find_email, read):
    find_email()
    control("DELETE", "requests")
    assert read("summary")["total_api_requests"] == 1


def test_rate_limits_are_counted_per_calendar_minute_and_day(set_clock, call, read):
    for moment in [(2, 23, 59, 59), (3, 0, 0, 0), (3, 11, 59, 59), (3, 12, 0, 0)]:
        set_clock(*moment)
        call("GET", "/v1/credits")
    used = {name: rate["used"] for name, rate in read("dashboard")["rate_limit"].items()}
    assert used == {"minute": 2, "daily": 4}


def test_dollars_are_rounded_as_in_leadmagics_sample(leadmagic_sandbox, read):
    leadmagic_sandbox.set_credits("15432.50")
    assert read("dashboard")["credits"] == {"current": 15432.5, "formatted": "$154.33"}


@pytest.mark.parametrize("path", PATHS)
def test_very_large_amounts_are_reported(leadmagic_sandbox, read, path):
    leadmagic_sandbox.set_credits("1e60")
    leadmagic_sandbox.record_spending("email_finder", "1e40")
    assert read(path)


class TestRecordedSpending:
    def test_it_does_not_change_the_balance(self, leadmagic_sandbox):
        leadmagic_sandbox.record_spending("email_finder", 12.5, days_ago=3)
        assert leadmagic_sandbox.credits == 1000

    def test_it_is_dated_today_by_default(self, leadmagic_sandbox, read):
        leadmagic_sandbox.record_spending("email_finder", 12.5)
        assert read("day/2026-02-03")["summary"]["total_credits"] == 12.5

    def test_it_may_be_dated_a_year_ago(self, leadmagic_sandbox, read):
        leadmagic_sandbox.record_spending("email_finder", 12.5, days_ago=365)
        assert read("day/2025-02-03")["summary"]["total_credits"] == 12.5

    def test_it_is_a_miss_if_nothing_was_charged(self, leadmagic_sandbox, read):
        leadmagic_sandbox.record_spending("email_finder", 0)
        summary = read("usage", days=1)["summary"]
        assert (summary["total_requests"], summary["chargeable_requests"]) == (1, 0)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("emails", 1), "product must be one of email_finder, email_validation, mobile_finder, company_search"),
            (("email_finder", -1), "credits must be a finite number, 0 or more; got -1"),
            (("email_finder", True), "credits must be a finite number, 0 or more; got True"),
            (("email_finder", 1, -1), "greater than or equal to 0"),
            (("email_finder", 1, 366), "less than or equal to 365"),
            (("email_finder", 1, 1.5), "days_ago"),
            (("email_finder", 1, True), "days_ago"),
            (("email_finder", 1, "3"), "days_ago"),
        ],
    )
    def test_invalid_arguments_are_rejected(self, leadmagic_sandbox, read, arguments, message):
        with pytest.raises(ValueError, match=message):
            leadmagic_sandbox.record_spending(*arguments)
        assert read("summary")["total_api_requests"] == 0
