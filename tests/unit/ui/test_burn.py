"""Tests of the spending by day and product, and of its chart."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from airflow_provider_leadmagic.ui.burn import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MAX_FUTURE_DAYS,
    RIGHT,
    TOP,
    WIDTH,
    BurnChart,
    Day,
    burn_chart,
    spending_by_day,
    spending_by_product,
    total_spending,
)

TODAY = date(2026, 11, 26)
UNKNOWN_FORMS: list[Any] = [{}, {"daily": None}, {"daily": {}}, {"daily": ["2026-11-26", 5]}]


def chart(*credits: int | str, average: int | str = 10, runs_out_in: int | None = None) -> BurnChart:
    days = [Day(TODAY - timedelta(days=len(credits) - 1 - n), Decimal(each)) for n, each in enumerate(credits)]
    runs_out = None if runs_out_in is None else TODAY + timedelta(days=runs_out_in)
    return burn_chart(days, Decimal(average), runs_out)


class TestDays:
    def test_all_days_of_the_window_are_listed_from_the_oldest_on(self) -> None:
        usage = {"daily": [{"date": "2026-11-26", "total_credits": 5}, {"date": "2026-11-24", "total_credits": 7.5}]}

        assert spending_by_day(usage, TODAY, 3) == [
            Day(date(2026, 11, 24), Decimal("7.5")),
            Day(date(2026, 11, 25), Decimal(0)),
            Day(date(2026, 11, 26), Decimal(5)),
        ]

    def test_two_entries_of_a_day_are_added(self) -> None:
        usage = {"daily": [{"date": "2026-11-26", "total_credits": 5}, {"date": "2026-11-26", "total_credits": 2}]}

        assert spending_by_day(usage, TODAY, 1) == [Day(TODAY, Decimal(7))]

    def test_days_outside_of_the_window_are_left_out(self) -> None:
        usage = {"daily": [{"date": "2026-11-20", "total_credits": 5}, {"date": "2026-11-27", "total_credits": 5}]}

        assert [day.credits for day in spending_by_day(usage, TODAY, 2)] == [0, 0]

    def test_a_date_may_have_a_time(self) -> None:
        usage = {"daily": [{"date": "2026-11-26T00:00:00Z", "total_credits": "5"}]}

        assert spending_by_day(usage, TODAY, 1) == [Day(TODAY, Decimal(5))]

    @pytest.mark.parametrize("usage", UNKNOWN_FORMS)
    def test_a_response_of_another_form_counts_as_no_spending(self, usage: dict[str, Any]) -> None:
        assert spending_by_day(usage, TODAY, 1) == [Day(TODAY, Decimal(0))]

    @pytest.mark.parametrize("credits", [None, "many", True, -3, float("nan"), [1]])
    def test_an_invalid_amount_counts_as_no_spending(self, credits: object) -> None:
        usage = {"daily": [{"date": "2026-11-26", "total_credits": credits}]}

        assert spending_by_day(usage, TODAY, 1) == [Day(TODAY, Decimal(0))]

    @pytest.mark.parametrize("day", [None, "", "yesterday", 20261126])
    def test_an_invalid_date_is_ignored(self, day: object) -> None:
        usage = {"daily": [{"date": day, "total_credits": 9}]}

        assert sum(day.credits for day in spending_by_day(usage, TODAY, 30)) in (0, 9)


class TestTotal:
    @pytest.mark.parametrize(
        ("usage", "total"),
        [
            ({"summary": {"total_credits": 12.5}, "daily": []}, Decimal("12.5")),
            ({"summary": {}, "daily": [{"date": "2026-11-26", "total_credits": 5}]}, Decimal(5)),
            ({"daily": [{"date": "2026-11-25"}, {"date": "2026-11-26", "total_credits": 5}]}, Decimal(5)),
            ({"summary": {"total_credits": -3}}, Decimal(0)),
        ],
    )
    def test_it_is_that_of_leadmagic_or_else_the_sum_of_the_days(self, usage: dict[str, Any], total: Decimal) -> None:
        assert total_spending(usage) == total

    @pytest.mark.parametrize("usage", UNKNOWN_FORMS)
    def test_it_is_unknown_in_a_response_of_another_form(self, usage: dict[str, Any]) -> None:
        assert total_spending(usage) is None


class TestProducts:
    def test_the_highest_spending_comes_first(self) -> None:
        products = {"products": {"email_finder": {"total_credits": 5}, "mobile_finder": {"total_credits": 7}}}

        assert spending_by_product(products) == [("mobile_finder", 7), ("email_finder", 5)]

    def test_products_without_spending_are_left_out(self) -> None:
        assert spending_by_product({"products": {"a": {"total_credits": 0}, "b": {}, "c": 5}}) == []

    def test_without_a_response_the_products_are_unknown(self) -> None:
        assert spending_by_product(None) is None

    @pytest.mark.parametrize("products", [{}, {"products": []}, {"products": None}])
    def test_nothing_is_returned_for_a_response_of_another_form(self, products: dict[str, Any]) -> None:
        assert spending_by_product(products) == []


class TestChart:
    def test_the_highest_bar_ends_below_the_top_and_a_day_without_spending_has_no_height(self) -> None:
        low, high = chart(0, 226).bars

        assert low.height == 0
        assert TOP < high.y < HEIGHT - BOTTOM
        assert high.y + high.height == pytest.approx(HEIGHT - BOTTOM)

    def test_heights_are_in_proportion(self) -> None:
        half, whole = chart(100, 200).bars

        assert whole.height == pytest.approx(2 * half.height, abs=0.2)

    @pytest.mark.parametrize(
        ("highest", "labels"),
        [
            (0, ["0", "0.5", "1"]),
            (226, ["0", "150", "300"]),
            (1000, ["0", "500", "1,000"]),
            ("0.04", ["0", "0.02", "0.04"]),
        ],
    )
    def test_the_axis_has_round_labels(self, highest: int | str, labels: list[str]) -> None:
        assert [mark.label for mark in chart(highest, average=0).amounts] == labels

    def test_bars_do_not_overlap_and_stay_inside(self) -> None:
        bars = chart(*range(30), runs_out_in=12).bars

        assert all(one.x + one.width < other.x for one, other in pairwise(bars))
        assert bars[0].x >= LEFT
        assert bars[-1].x + bars[-1].width <= WIDTH - RIGHT

    def test_a_bar_tells_its_day_and_credits(self) -> None:
        [bar] = chart("1234.5").bars

        assert bar.title == "2026-11-26: 1,234.5 credits"

    def test_without_an_end_of_the_credits_the_days_fill_the_width(self) -> None:
        assert chart(5, 5).run_out is None
        assert chart(5, 5).average_end > chart(5, 5, runs_out_in=5).today

    def test_the_day_on_which_the_credits_run_out_is_marked_after_the_bars(self) -> None:
        drawn = chart(5, 5, runs_out_in=5)

        assert drawn.run_out is not None
        assert drawn.run_out.label == "Dec 01"
        assert drawn.today < drawn.run_out.position < WIDTH - RIGHT

    def test_credits_that_run_out_today_are_marked_on_the_last_bar(self) -> None:
        drawn = chart(5, 5, runs_out_in=0)

        assert drawn.run_out is not None
        assert drawn.bars[-1].x < drawn.run_out.position < drawn.bars[-1].x + drawn.bars[-1].width

    def test_a_day_too_far_away_is_not_marked(self) -> None:
        assert chart(5, 5, runs_out_in=MAX_FUTURE_DAYS + 1).run_out is None

    def test_the_average_is_a_line_through_all_days(self) -> None:
        drawn = chart(20, 20, average="10")

        assert drawn.average.label == "10"
        assert drawn.bars[0].y < drawn.average.position < HEIGHT - BOTTOM
        assert drawn.average_end > drawn.bars[-1].x
