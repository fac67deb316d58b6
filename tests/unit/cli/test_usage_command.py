"""Tests of the command ``usage``: a row and a bar per day, the totals, and how long the credits last."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

ANALYTICS = "/v1/analytics/usage"
BAR = "━"


@pytest.fixture
def history(leadmagic_sandbox):
    """Return an account that spent 10 credits today, 5 yesterday in two requests, and 20 six days ago."""
    for credits, days_ago in ((20, 6), (10, 0), (3, 1), (2, 1), (0, 1)):
        leadmagic_sandbox.record_spending("email_finder", credits, days_ago=days_ago)
    return leadmagic_sandbox


def day(ago):
    return str(datetime.now(UTC).date() - timedelta(days=ago))


def cells(outcome):
    """Return the cells of the rows of the days and of the total."""
    return [line.split() for line in outcome.out.splitlines() if line[:3] in ("202", "Tot")]


def last_line(outcome):
    return " ".join(outcome.out.split("\n\n")[-1].split())


class TestTable:
    def test_table_has_a_row_per_day_and_one_for_the_totals(self, run, history):
        outcome = run("usage", "--days", 7)
        numbers = {row[0]: row[1:4] for row in cells(outcome)}
        assert numbers == {
            day(6): ["1", "1", "20"],
            **{day(ago): ["0", "0", "0"] for ago in (5, 4, 3, 2)},
            day(1): ["3", "2", "5"],
            day(0): ["1", "1", "10"],
            "Total": ["5", "4", "35"],
        }
        assert outcome.out.startswith("Date ")
        assert (outcome.code, outcome.err) == (0, "")

    def test_bar_lengths_are_proportional_to_the_credits(self, run, history):
        lengths = {row[0]: row[4].count(BAR) for row in cells(run("usage", "--days", 7)) if len(row) > 4}
        assert lengths.keys() == {day(6), day(1), day(0)}
        assert lengths[day(6)] > 30
        assert lengths[day(0)] == pytest.approx(lengths[day(6)] / 2, abs=1)
        assert lengths[day(1)] == pytest.approx(lengths[day(6)] / 4, abs=1)

    @pytest.mark.parametrize(("arguments", "rows"), [([], 30), (["--days", 1], 1), (["--days", 90], 90)])
    def test_days_sets_the_number_of_rows(self, run, history, arguments, rows):
        assert len(cells(run("usage", *arguments))) == rows + 1

    def test_table_fits_eighty_columns_without_color_codes(self, run, history):
        history.record_spending("email_finder", 1_234_567)
        out = run("usage").out
        assert max(map(len, out.splitlines())) <= 80
        assert "1,234,577" in out
        assert "\x1b" not in out

    @pytest.mark.parametrize("columns", ["60", "80"])
    def test_bars_shrink_before_numbers_in_a_narrow_terminal(self, run, history, monkeypatch, columns):
        monkeypatch.setenv("COLUMNS", columns)
        history.record_spending("email_finder", "123456789.25")
        out = run("usage").out
        assert "123,456,799.25" in out
        assert f"{day(0)} " in out

    def test_bars_are_drawn_in_ascii_if_the_encoding_requires_it(self, run, history):
        out = run("usage", "--days", 2, encoding="ascii").out
        [today] = [line for line in out.splitlines() if line.startswith(day(0))]
        assert today.split()[-1].startswith("-" * 30)

    def test_account_without_usage_has_rows_without_bars(self, run):
        outcome = run("usage", "--days", 3)
        assert [row[1:] for row in cells(outcome)] == [["0", "0", "0"]] * 4
        assert BAR not in outcome.out

    def test_response_wrapped_in_data_is_read(self, run, history):
        bare = cells(run("usage"))
        history.wrap_analytics = True
        assert cells(run("usage")) == bare


class TestRunway:
    def test_runway_is_based_on_the_average_of_the_last_seven_days(self, run, history):
        history.set_credits(1000)
        end = (datetime.now(UTC) + timedelta(days=200)).date()
        assert last_line(run("usage")) == (
            "Credits last 200.0 days: 1,000 spendable at 5 credits a day (average of the last 7 days), "
            f"used up by {end}."
        )

    def test_no_spending_is_reported_without_a_runway(self, run):
        assert last_line(run("usage")) == "No spending in the last 7 days: 1,000 spendable."

    def test_end_beyond_the_year_9999_is_omitted(self, run, leadmagic_sandbox):
        leadmagic_sandbox.set_credits("1e12")
        leadmagic_sandbox.record_spending("email_finder", "0.25")
        assert last_line(run("usage")) == (
            "Credits last 28,000,000,000,000.0 days: 1,000,000,000,000 spendable at 0.04 credits a day "
            "(average of the last 7 days)."
        )

    @pytest.mark.parametrize(
        ("path", "fault", "reason"),
        [
            pytest.param(
                "/v1/analytics/credits", {"status": 503}, "Server error (503 service_unavailable)", id="failed"
            ),
            pytest.param("/v1/analytics/credits", {"body": "{}"}, "`summary.total_credits`", id="malformed"),
            pytest.param("/v1/credits", {"body": "{}"}, "Invalid balance: `credits` is missing", id="no balance"),
        ],
    )
    def test_days_are_shown_if_the_runway_cannot_be_read(self, run, history, path, fault, reason):
        history.fail_next(path, **fault)
        outcome = run("usage")
        assert len(cells(outcome)) == 31
        assert last_line(outcome).startswith("Runway unknown: ")
        assert reason in last_line(outcome)
        assert (outcome.code, outcome.err) == (0, "")


class TestMalformedResponses:
    @pytest.mark.parametrize(
        ("body", "rows"),
        [
            pytest.param("{}", [], id="empty object"),
            pytest.param('{"daily": null, "summary": null}', [], id="null"),
            pytest.param('{"daily": {"2026-01-01": {}}, "summary": [1]}', [], id="other types"),
            pytest.param('{"daily": [null, 5, "x", []]}', [], id="invalid days"),
            pytest.param(
                '{"daily": [{"date": "2026-01-01"}]}', [["2026-01-01", "-", "-", "-"]], id="day without numbers"
            ),
            pytest.param(
                '{"daily": [{"date": "2026-01-01", "total_requests": null, "total_credits": "2.50"}]}',
                [["2026-01-01", "-", "-", "2.5", "bar"]],
                id="number as text",
            ),
            pytest.param(
                '{"daily": [{"date": "2026-01-01", "total_credits": NaN, "total_requests": true},'
                ' {"date": "2026-01-02", "total_credits": 1e400, "total_requests": "many"},'
                ' {"date": "2026-01-03", "total_credits": -5, "total_requests": [1]}]}',
                [["2026-01-01", "-", "-", "-"], ["2026-01-02", "-", "-", "-"], ["2026-01-03", "-", "-", "-5"]],
                id="invalid numbers",
            ),
            pytest.param(
                '{"daily": [{"date": "2026-01-02", "total_credits": 1e308},'
                ' {"date": "2026-01-01T00:00:00Z", "total_credits": 0}]}',
                [["2026-01-01", "-", "-", "0"], ["2026-01-02", "-", "-", "100,000,000,000,000…", "bar"]],
                id="huge number, and newest day first",
            ),
        ],
    )
    def test_missing_or_invalid_value_is_shown_as_a_dash(self, run, leadmagic_sandbox, body, rows):
        leadmagic_sandbox.fail_next(ANALYTICS, body=body)
        outcome = run("usage")
        assert (outcome.code, outcome.err) == (0, "")
        found = [["bar" if set(cell) <= {BAR, "╸"} else cell for cell in row] for row in cells(outcome)]
        assert found == [*rows, ["Total", "-", "-", "-"]]

    @pytest.mark.parametrize("date", ["null", "5", '""', '"\\u001b[2J"', '"\\ud800"', '"[red]"'])
    def test_invalid_date_is_tolerated(self, run, leadmagic_sandbox, date):
        leadmagic_sandbox.fail_next(ANALYTICS, body=f'{{"daily": [{{"date": {date}, "total_credits": 1}}]}}')
        outcome = run("usage")
        assert (outcome.code, outcome.err) == (0, "")
        assert "\x1b" not in outcome.out
        assert BAR * 30 in outcome.out

    def test_response_that_is_not_an_object_is_an_error(self, run, leadmagic_sandbox):
        leadmagic_sandbox.fail_next(ANALYTICS, body="[]")
        outcome = run("usage")
        assert (outcome.code, outcome.out) == (2, "")
        assert "Response is not a JSON object (200): check the host of connection 'leadmagic_default'." in outcome.error


class TestJson:
    @pytest.mark.parametrize("wrapped", [False, True])
    def test_json_is_the_object_leadmagic_sent(self, run, history, wrapped):
        history.wrap_analytics = wrapped
        usage = json.loads(run("usage", "--days", 2, "--output", "json").out)
        assert usage["period"]["days"] == 2
        assert [row["date"] for row in usage["daily"]] == [day(1), day(0)]
        assert usage["summary"]["total_credits"] == 15
        assert [request.path for request in history.requests] == [ANALYTICS]

    def test_output_is_valid_json_if_the_response_is_not(self, run, leadmagic_sandbox):
        leadmagic_sandbox.fail_next(ANALYTICS, body='{"a": NaN, "b": [Infinity, 1e400], "c": "\\ud800"}')
        out = run("usage", "-o", "json").out
        assert json.loads(out, parse_constant=pytest.fail) == {"a": None, "b": [None, None], "c": "\ud800"}
