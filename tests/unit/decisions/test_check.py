"""Tests of CreditCheck: its messages, its verdict, and the number of credits it requires."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from airflow_provider_leadmagic.api.models import CreditBalance, CreditsRunway
from airflow_provider_leadmagic.decisions.check import CreditCheck

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
BALANCE = {"credits": 50, "spendable": 50, "is_frozen": False, "freeze_message": None, "observed_at": NOON.isoformat()}
SHORT_OF_60 = "Not enough credits: 50 spendable, 60 required on connection 'lead'."
RUNWAY = {"runway_days": 5, "runs_out_at": "2026-02-05T12:00:00+00:00", "daily_credits": 10}


def amount(value):
    return None if value is None else Decimal(value)


def short_runway(minimum_days):
    """Return the message about 50 credits that last five days."""
    return (
        f"Credits last 5.0 days, minimum_runway_days is {minimum_days}: 50 spendable at 10 credits a day "
        "(average of the last 7 days) on connection 'lead', used up by 2026-02-05 12:00 UTC."
    )


def check(credits="50", *, spent=None, minimum=None, warn_below=None, days=None):
    """Return a check of a balance, with a runway if ``spent`` is given: the credits spent in the last seven days."""
    balance = CreditBalance(Decimal(credits), NOON)
    runway = None if spent is None else CreditsRunway(balance, Decimal(spent), 7)
    return CreditCheck("lead", balance, amount(minimum), amount(warn_below), runway, amount(days))


@pytest.mark.parametrize(
    ("arguments", "shortfalls"),
    [
        pytest.param({}, [], id="no threshold"),
        pytest.param({"minimum": 50}, [], id="minimum equal to the balance"),
        pytest.param(
            {"minimum": "50.05"},
            ["Not enough credits: 50 spendable, 50.05 required on connection 'lead'."],
            id="minimum above the balance",
        ),
        pytest.param({"warn_below": 60}, [], id="warn_below only"),
        pytest.param({"spent": 70}, [], id="runway without a minimum"),
        pytest.param({"spent": 70, "days": 5}, [], id="minimum days equal to the runway"),
        pytest.param({"spent": 70, "days": "7.5"}, [short_runway("7.5")], id="minimum days above the runway"),
        pytest.param({"spent": 70, "days": 0}, [], id="minimum of 0 days"),
        pytest.param({"spent": 0, "days": 365}, [], id="nothing spent"),
        pytest.param(
            {"spent": 70, "days": 7, "minimum": 60}, [SHORT_OF_60, short_runway(7)], id="short of credits and days"
        ),
        pytest.param({"spent": 70, "days": 7, "minimum": 50}, [short_runway(7)], id="short of days"),
        pytest.param({"spent": 70, "days": 5, "minimum": 60}, [SHORT_OF_60], id="short of credits"),
    ],
)
def test_each_shortfall_is_one_message(arguments, shortfalls):
    assert check(**arguments).shortfalls() == shortfalls


@pytest.mark.parametrize(
    ("arguments", "is_low", "warning"),
    [
        pytest.param({"minimum": 60}, False, None, id="short of the minimum only"),
        pytest.param({"warn_below": 50}, False, None, id="warn_below equal to the balance"),
        pytest.param(
            {"warn_below": "50.05"},
            True,
            "Credits low: 50 spendable, warn_below is 50.05 on connection 'lead'.",
            id="warn_below above the balance",
        ),
        pytest.param({"spent": 70, "days": 7}, True, None, id="short of days"),
        pytest.param(
            {"spent": 70, "days": 7, "warn_below": 60},
            True,
            "Credits low: 50 spendable, warn_below is 60 on connection 'lead'.",
            id="below warn_below and short of days",
        ),
    ],
)
def test_credits_are_low_below_warn_below_or_if_the_runway_is_short(arguments, is_low, warning):
    assert (check(**arguments).is_low, check(**arguments).warning()) == (is_low, warning)


@pytest.mark.parametrize(
    ("credits", "spent", "days_left", "pace", "end"),
    [
        pytest.param("69.99", 70, "6.9", "10", "2026-02-07 11:58", id="just below the minimum"),
        pytest.param("5", 7000, "0.0", "1,000", "2026-01-31 12:07", id="a few minutes"),
        pytest.param("-5", 70, "0.0", "10", "2026-01-31 12:00", id="overdrawn"),
        pytest.param("0", 0, "0.0", "0", "2026-01-31 12:00", id="empty"),
    ],
)
def test_short_runway_is_rounded_down(credits, spent, days_left, pace, end):
    [shortfall] = check(credits, spent=spent, days=7).shortfalls()
    assert shortfall == (
        f"Credits last {days_left} days, minimum_runway_days is 7: {credits} spendable at {pace} credits a day "
        f"(average of the last 7 days) on connection 'lead', used up by {end} UTC."
    )


def test_end_beyond_the_year_9999_is_omitted():
    [shortfall] = check("5000000", spent=7, days="6e6").shortfalls()
    assert shortfall.startswith("Credits last 5,000,000.0 days, minimum_runway_days is 6,000,000: ")
    assert shortfall.endswith("at 1 credits a day (average of the last 7 days) on connection 'lead'.")


@pytest.mark.parametrize(
    ("arguments", "required"),
    [
        pytest.param({}, None, id="no threshold"),
        pytest.param({"minimum": 60}, 60, id="minimum"),
        pytest.param({"minimum": 0}, 0, id="minimum of 0"),
        pytest.param({"spent": 70, "days": 7}, 70, id="days"),
        pytest.param({"spent": 10, "days": 7}, 10, id="days, daily average not a whole number"),
        pytest.param({"spent": 70, "days": 7, "minimum": 60}, 70, id="both, days require more"),
        pytest.param({"spent": 70, "days": 7, "minimum": 80}, 80, id="both, minimum requires more"),
        pytest.param({"spent": 0, "days": 7, "minimum": 60}, 60, id="both, nothing spent"),
        pytest.param({"spent": 0, "days": 7}, None, id="days, nothing spent"),
    ],
)
def test_required_credits_satisfy_every_threshold(arguments, required):
    assert check(**arguments).required == required


@pytest.mark.parametrize(
    ("arguments", "report"),
    [
        pytest.param({}, {"minimum_credits": None, "sufficient": None}, id="no threshold"),
        pytest.param({"warn_below": 60}, {"minimum_credits": None, "sufficient": None}, id="warn_below only"),
        pytest.param({"minimum": 50}, {"minimum_credits": 50, "sufficient": True}, id="minimum reached"),
        pytest.param({"minimum": 51}, {"minimum_credits": 51, "sufficient": False}, id="minimum not reached"),
        pytest.param({"spent": 70}, {"minimum_credits": None, "sufficient": None}, id="runway without a minimum"),
        pytest.param(
            {"spent": 70, "days": 5},
            {"minimum_credits": None, **RUNWAY, "minimum_runway_days": 5, "sufficient": True},
            id="days reached",
        ),
        pytest.param(
            {"spent": 70, "days": "5.5", "minimum": 50},
            {"minimum_credits": 50, **RUNWAY, "minimum_runway_days": 5.5, "sufficient": False},
            id="days not reached",
        ),
        pytest.param(
            {"spent": 70, "days": 5, "minimum": 51},
            {"minimum_credits": 51, **RUNWAY, "minimum_runway_days": 5, "sufficient": False},
            id="days reached, minimum not",
        ),
        pytest.param(
            {"spent": 70, "days": 5, "minimum": 50},
            {"minimum_credits": 50, **RUNWAY, "minimum_runway_days": 5, "sufficient": True},
            id="both reached",
        ),
    ],
)
def test_report_is_plain_json_and_sufficient_covers_every_threshold(arguments, report):
    assert json.loads(json.dumps(check(**arguments).report(), allow_nan=False)) == {**BALANCE, **report}
