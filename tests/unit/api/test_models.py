"""Tests of CreditBalance, of thresholds, and of the formatting of credits."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from airflow_provider_leadmagic.api.models import CreditBalance
from airflow_provider_leadmagic.api.text import format_credits, json_number
from airflow_provider_leadmagic.api.validation import parse_credits
from airflow_provider_leadmagic.exceptions import LeadMagicResponseError

NOW = datetime(2026, 11, 5, 3, 0, tzinfo=UTC)


def make_balance(credits, **fields):
    return CreditBalance(credits=Decimal(credits), observed_at=NOW, **fields)


def from_api(text):
    return CreditBalance.from_api(json.loads(text, parse_float=Decimal, parse_int=Decimal))


class TestThreshold:
    @pytest.mark.parametrize(
        ("given", "number"),
        [
            pytest.param(500, "500", id="int"),
            pytest.param(0, "0", id="zero"),
            pytest.param(0.05, "0.05", id="float keeps its digits"),
            pytest.param(Decimal("12.34"), "12.34", id="Decimal"),
            pytest.param("15432.50", "15432.50", id="text"),
            pytest.param(" 7\n", "7", id="text with blanks, as rendered by templates"),
            pytest.param("1e3", "1000", id="exponent"),
        ],
    )
    def test_all_notations_of_a_number_are_accepted(self, given, number):
        assert parse_credits("minimum_credits", given) == Decimal(number)

    @pytest.mark.parametrize(
        "given",
        [
            pytest.param(True, id="bool"),
            pytest.param(None, id="None"),
            pytest.param("", id="empty text"),
            pytest.param("{{ var.value.minimum }}", id="unrendered template"),
            pytest.param("1,000", id="thousands comma"),
            pytest.param(-1, id="negative"),
            pytest.param(float("nan"), id="nan"),
            pytest.param(Decimal("sNaN"), id="signalling NaN"),
            pytest.param(float("inf"), id="infinity"),
            pytest.param("-Infinity", id="negative infinity"),
            pytest.param("1e400", id="above the range of floats"),
            pytest.param("1e99999999999999999999", id="above the range of Decimals"),
            pytest.param(b"5", id="bytes"),
            pytest.param([5], id="list"),
            pytest.param(datetime.now, id="function"),
        ],
    )
    def test_invalid_amount_is_rejected_with_name_and_value(self, given):
        with pytest.raises(
            ValueError, match=r"^minimum_credits must be a number of credits, 0 or more; got "
        ) as caught:
            parse_credits("minimum_credits", given)
        assert repr(given) in str(caught.value)

    def test_integer_of_5000_digits_is_rejected_in_an_error_that_names_it(self):
        with pytest.raises(ValueError, match="minimum_credits must be a number of credits"):
            parse_credits("minimum_credits", 10**5000)

    @pytest.mark.parametrize(
        ("credits", "minimum", "covered"),
        [
            pytest.param("500", "500", True, id="equal"),
            pytest.param("500.00", "500", True, id="equal with other decimals"),
            pytest.param("499.95", "500", False, id="just below"),
            pytest.param("0.30", "0.3", True, id="inexact as floats"),
            pytest.param("0", "0", True, id="both zero"),
            pytest.param("-3", "0", False, id="overdrawn"),
        ],
    )
    def test_spendable_credits_cover_a_threshold_up_to_their_amount(self, credits, minimum, covered):
        assert make_balance(credits).covers(Decimal(minimum)) is covered


class TestSpendable:
    def test_all_credits_are_spendable_by_default(self):
        assert from_api('{"credits": 12.5}').spendable == Decimal("12.5")

    def test_liquid_part_is_spendable_if_reported(self):
        assert from_api('{"credits": 100, "credits_liquid": 40}').spendable == 40

    def test_liquid_part_of_a_frozen_account_is_spendable(self):
        assert from_api('{"credits": 100, "is_frozen": true, "credits_liquid": 40}').spendable == 40

    def test_frozen_account_without_a_liquid_part_has_no_spendable_credits(self):
        assert from_api('{"credits": 100, "is_frozen": true}').spendable == 0

    def test_liquid_part_of_zero_is_not_a_missing_one(self):
        assert from_api('{"credits": 100, "credits_liquid": 0}').spendable == 0

    def test_null_freeze_fields_count_as_missing(self):
        balance = from_api('{"credits": 100, "is_frozen": null, "credits_frozen": null, "credits_liquid": null}')
        assert (balance.is_frozen, balance.credits_frozen, balance.spendable) == (False, None, 100)


class TestBalanceFromTheApi:
    def test_all_fields_are_converted(self):
        balance = from_api(
            '{"credits": 1979.15, "is_frozen": true, "credits_frozen": 1000, "credits_liquid": 979.15,'
            ' "credit_freeze_message": "Unpaid invoice", "credit_freeze_plan_hint": "growth", "new_field": [1]}'
        )
        assert (balance.credits, balance.is_frozen, balance.credits_frozen, balance.credits_liquid) == (
            Decimal("1979.15"),
            True,
            1000,
            Decimal("979.15"),
        )
        assert balance.freeze_message == "Unpaid invoice"

    def test_observed_at_is_the_current_time(self):
        before = datetime.now(UTC)
        assert before <= from_api('{"credits": 1}').observed_at <= datetime.now(UTC)

    @pytest.mark.parametrize(
        "number",
        ["0", "-3", "79279", "1979.15", "0.05", "1e3", pytest.param("9" * 300, id="300 digits")],
    )
    def test_credits_are_exact(self, number):
        assert from_api(f'{{"credits": {number}}}').credits == Decimal(number)

    @pytest.mark.parametrize("body", ["{}", '{"credits": null}', "[]", "null"])
    def test_body_without_credits_is_rejected(self, body):
        with pytest.raises(LeadMagicResponseError, match="Invalid balance: `credits` is missing") as caught:
            from_api(body)
        assert not caught.value.transient

    @pytest.mark.parametrize(
        "value",
        [
            '"5"',
            "true",
            "[5]",
            "NaN",
            "-Infinity",
            "1e400",
            pytest.param("9" * 5000, id="5000 digits"),
        ],
    )
    def test_credits_that_are_not_a_finite_number_are_rejected(self, value):
        with pytest.raises(LeadMagicResponseError, match="`credits` is not a finite number") as caught:
            from_api(f'{{"credits": {value}}}')
        assert not caught.value.transient
        assert len(str(caught.value)) < 150

    @pytest.mark.parametrize("field", ["credits_liquid", "credits_frozen"])
    @pytest.mark.parametrize("value", ['"5"', "NaN"])
    def test_part_that_is_not_a_finite_number_is_rejected_in_an_error_that_names_it(self, field, value):
        with pytest.raises(LeadMagicResponseError, match=f"`{field}` is not a finite number"):
            from_api(f'{{"credits": 5, "{field}": {value}}}')

    @pytest.mark.parametrize("value", ['"yes"', "1", "[]"])
    def test_invalid_freeze_flag_is_rejected(self, value):
        with pytest.raises(LeadMagicResponseError, match="`is_frozen` is not true or false"):
            from_api(f'{{"credits": 5, "is_frozen": {value}}}')

    def test_freeze_message_that_is_not_text_is_ignored(self):
        assert from_api('{"credits": 5, "credit_freeze_message": {"a": 1}}').freeze_message is None


class TestReport:
    def test_report_has_the_balance_and_the_comparison(self):
        assert make_balance("15432.50", freeze_message=None).report(Decimal("500")) == {
            "credits": 15432.5,
            "spendable": 15432.5,
            "is_frozen": False,
            "freeze_message": None,
            "observed_at": "2026-11-05T03:00:00+00:00",
            "minimum_credits": 500,
            "sufficient": True,
        }

    def test_report_of_a_frozen_balance(self):
        report = make_balance("900", is_frozen=True, freeze_message="Unpaid invoice").report(Decimal(1))
        assert (report["credits"], report["spendable"], report["sufficient"]) == (900, 0, False)
        assert (report["is_frozen"], report["freeze_message"]) == (True, "Unpaid invoice")

    def test_report_without_a_threshold_has_no_comparison(self):
        report = make_balance("5").report()
        assert (report["minimum_credits"], report["sufficient"]) == (None, None)

    def test_report_with_a_threshold_of_zero(self):
        report = make_balance("0").report(Decimal(0))
        assert (report["minimum_credits"], report["sufficient"]) == (0, True)

    def test_report_is_plain_json(self):
        report = make_balance("0.05", credits_liquid=Decimal("0.05")).report(Decimal("0.1"))
        assert json.loads(json.dumps(report, allow_nan=False)) == report


@pytest.mark.parametrize(
    "original",
    [
        pytest.param(make_balance("0.05"), id="credits only"),
        pytest.param(
            make_balance(
                "1234567890123456789.05",
                is_frozen=True,
                credits_frozen=Decimal("1E+3"),
                credits_liquid=Decimal(0),
                freeze_message="m",
            ),
            id="every field",
        ),
    ],
)
def test_balance_is_equal_after_json(original):
    assert CreditBalance.from_json(json.loads(json.dumps(original.to_json()))) == original


def test_json_keeps_microseconds():
    later = CreditBalance(credits=Decimal(1), observed_at=NOW + timedelta(microseconds=1))
    assert CreditBalance.from_json(later.to_json()).observed_at - NOW == timedelta(microseconds=1)


def test_balance_is_immutable():
    with pytest.raises(AttributeError):
        make_balance("1").credits = Decimal(2)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("15432.50", "15,432.5"),
        ("0.00", "0"),
        ("1E+3", "1,000"),
        ("100", "100"),
        ("0.05", "0.05"),
        ("-5", "-5"),
        ("1234567.05", "1,234,567.05"),
    ],
)
def test_credits_are_formatted_with_thousands_separators(number, text):
    assert format_credits(Decimal(number)) == text


def test_tiny_number_of_credits_is_formatted_in_a_short_text():
    assert len(format_credits(from_api('{"credits": 1e-300}').credits)) < 60


@pytest.mark.parametrize(
    ("number", "plain"),
    [
        ("15432.50", 15432.5),
        ("79279", 79279),
        ("500.00", 500),
        ("0.05", 0.05),
        ("1E+3", 1000),
        ("-0", 0),
        ("9007199254740991", 2**53 - 1),
        ("9007199254740992", 2.0**53),
        ("-1e20", -1e20),
    ],
)
def test_credits_are_converted_to_plain_json_numbers(number, plain):
    assert json_number(Decimal(number)) == plain
    assert type(json_number(Decimal(number))) is type(plain)
