"""Credits as numbers and as words: what is accepted, compared, reported and carried along."""

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


def balance(credits, **fields):
    return CreditBalance(credits=Decimal(credits), observed_at=NOW, **fields)


def read(text):
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
            pytest.param(" 7\n", "7", id="text with blanks, as templates leave them"),
            pytest.param("1e3", "1000", id="exponent"),
        ],
    )
    def test_every_way_to_write_a_number_is_accepted(self, given, number):
        assert parse_credits("minimum_credits", given) == Decimal(number)

    @pytest.mark.parametrize(
        "given",
        [
            pytest.param(True, id="bool"),
            pytest.param(None, id="None"),
            pytest.param("", id="empty text"),
            pytest.param("{{ var.value.minimum }}", id="template that was not rendered"),
            pytest.param("1,000", id="thousands comma"),
            pytest.param(-1, id="negative"),
            pytest.param(float("nan"), id="nan"),
            pytest.param(Decimal("sNaN"), id="signalling NaN"),
            pytest.param(float("inf"), id="infinity"),
            pytest.param("-Infinity", id="negative infinity"),
            pytest.param("1e400", id="more than a float can hold"),
            pytest.param("1e99999999999999999999", id="more than a Decimal can hold"),
            pytest.param(b"5", id="bytes"),
            pytest.param([5], id="list"),
            pytest.param(datetime.now, id="function"),
        ],
    )
    def test_what_is_no_amount_is_refused_with_its_name_and_value(self, given):
        with pytest.raises(
            ValueError, match=r"^minimum_credits must be a number of credits, 0 or more; got "
        ) as caught:
            parse_credits("minimum_credits", given)
        assert repr(given) in str(caught.value)

    def test_an_integer_of_5000_digits_is_refused_by_name(self):
        with pytest.raises(ValueError, match="minimum_credits must be a number of credits"):
            parse_credits("minimum_credits", 10**5000)

    @pytest.mark.parametrize(
        ("credits", "minimum", "covered"),
        [
            pytest.param("500", "500", True, id="equal"),
            pytest.param("500.00", "500", True, id="equal with other digits"),
            pytest.param("499.95", "500", False, id="one step below"),
            pytest.param("0.30", "0.3", True, id="what floats get wrong"),
            pytest.param("0", "0", True, id="nothing asks for nothing"),
            pytest.param("-3", "0", False, id="overdrawn"),
        ],
    )
    def test_a_threshold_is_met_when_the_spendable_credits_reach_it(self, credits, minimum, covered):
        assert balance(credits).covers(Decimal(minimum)) is covered


class TestSpendable:
    def test_it_is_all_credits_where_the_api_says_no_more(self):
        assert read('{"credits": 12.5}').spendable == Decimal("12.5")

    def test_it_is_the_liquid_part_where_the_api_names_it(self):
        assert read('{"credits": 100, "credits_liquid": 40}').spendable == 40

    def test_it_is_the_liquid_part_of_a_frozen_account_too(self):
        assert read('{"credits": 100, "is_frozen": true, "credits_liquid": 40}').spendable == 40

    def test_it_is_nothing_where_the_account_is_frozen_and_no_liquid_part_is_named(self):
        assert read('{"credits": 100, "is_frozen": true}').spendable == 0

    def test_a_liquid_part_of_zero_is_not_taken_for_an_absent_one(self):
        assert read('{"credits": 100, "credits_liquid": 0}').spendable == 0

    def test_null_freeze_fields_count_as_absent(self):
        seen = read('{"credits": 100, "is_frozen": null, "credits_frozen": null, "credits_liquid": null}')
        assert (seen.is_frozen, seen.credits_frozen, seen.spendable) == (False, None, 100)


class TestBalanceFromTheApi:
    def test_every_field_is_read(self):
        seen = read(
            '{"credits": 1979.15, "is_frozen": true, "credits_frozen": 1000, "credits_liquid": 979.15,'
            ' "credit_freeze_message": "Unpaid invoice", "credit_freeze_plan_hint": "growth", "new_field": [1]}'
        )
        assert (seen.credits, seen.is_frozen, seen.credits_frozen, seen.credits_liquid) == (
            Decimal("1979.15"),
            True,
            1000,
            Decimal("979.15"),
        )
        assert seen.freeze_message == "Unpaid invoice"

    def test_it_knows_when_it_was_read(self):
        before = datetime.now(UTC)
        assert before <= read('{"credits": 1}').observed_at <= datetime.now(UTC)

    @pytest.mark.parametrize(
        "number",
        ["0", "-3", "79279", "1979.15", "0.05", "1e3", pytest.param("9" * 300, id="300 digits")],
    )
    def test_credits_are_read_exactly(self, number):
        assert read(f'{{"credits": {number}}}').credits == Decimal(number)

    @pytest.mark.parametrize("body", ["{}", '{"credits": null}', "[]", "null"])
    def test_a_body_without_credits_is_refused(self, body):
        with pytest.raises(LeadMagicResponseError, match="Invalid balance: `credits` is missing") as caught:
            read(body)
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
    def test_credits_that_are_no_finite_number_are_refused(self, value):
        with pytest.raises(LeadMagicResponseError, match="`credits` is not a finite number") as caught:
            read(f'{{"credits": {value}}}')
        assert not caught.value.transient
        assert len(str(caught.value)) < 150

    @pytest.mark.parametrize("field", ["credits_liquid", "credits_frozen"])
    @pytest.mark.parametrize("value", ['"5"', "NaN"])
    def test_a_part_of_the_credits_that_is_no_finite_number_is_refused_by_name(self, field, value):
        with pytest.raises(LeadMagicResponseError, match=f"`{field}` is not a finite number"):
            read(f'{{"credits": 5, "{field}": {value}}}')

    @pytest.mark.parametrize("value", ['"yes"', "1", "[]"])
    def test_a_freeze_flag_that_is_neither_true_nor_false_is_refused(self, value):
        with pytest.raises(LeadMagicResponseError, match="`is_frozen` is not true or false"):
            read(f'{{"credits": 5, "is_frozen": {value}}}')

    def test_a_freeze_message_that_is_no_text_is_left_out(self):
        assert read('{"credits": 5, "credit_freeze_message": {"a": 1}}').freeze_message is None


class TestReport:
    def test_it_says_what_is_there_and_whether_it_is_enough(self):
        assert balance("15432.50", freeze_message=None).report(Decimal("500")) == {
            "credits": 15432.5,
            "spendable": 15432.5,
            "is_frozen": False,
            "freeze_message": None,
            "observed_at": "2026-11-05T03:00:00+00:00",
            "minimum_credits": 500,
            "sufficient": True,
        }

    def test_a_frozen_balance_says_so(self):
        report = balance("900", is_frozen=True, freeze_message="Unpaid invoice").report(Decimal(1))
        assert (report["credits"], report["spendable"], report["sufficient"]) == (900, 0, False)
        assert (report["is_frozen"], report["freeze_message"]) == (True, "Unpaid invoice")

    def test_without_a_threshold_nothing_is_judged(self):
        report = balance("5").report()
        assert (report["minimum_credits"], report["sufficient"]) == (None, None)

    def test_a_threshold_of_zero_is_a_threshold(self):
        report = balance("0").report(Decimal(0))
        assert (report["minimum_credits"], report["sufficient"]) == (0, True)

    def test_it_is_plain_json(self):
        report = balance("0.05", credits_liquid=Decimal("0.05")).report(Decimal("0.1"))
        assert json.loads(json.dumps(report, allow_nan=False)) == report


@pytest.mark.parametrize(
    "original",
    [
        pytest.param(balance("0.05"), id="credits only"),
        pytest.param(
            balance(
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
def test_a_balance_survives_the_way_through_json(original):
    assert CreditBalance.from_json(json.loads(json.dumps(original.to_json()))) == original


def test_a_balance_keeps_its_moment_through_json():
    later = CreditBalance(credits=Decimal(1), observed_at=NOW + timedelta(microseconds=1))
    assert CreditBalance.from_json(later.to_json()).observed_at - NOW == timedelta(microseconds=1)


def test_a_balance_cannot_be_changed():
    with pytest.raises(AttributeError):
        balance("1").credits = Decimal(2)


@pytest.mark.parametrize(
    ("number", "words"),
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
def test_credits_are_written_the_way_people_read_them(number, words):
    assert format_credits(Decimal(number)) == words


def test_a_vanishing_number_of_credits_does_not_fill_the_log():
    assert len(format_credits(read('{"credits": 1e-300}').credits)) < 60


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
def test_credits_become_plain_json_numbers(number, plain):
    assert json_number(Decimal(number)) == plain
    assert type(json_number(Decimal(number))) is type(plain)
