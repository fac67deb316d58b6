"""What a check makes of a balance: the sentences, the verdict, and the credits that would do."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from airflow_provider_leadmagic.api.models import CreditBalance, CreditsRunway
from airflow_provider_leadmagic.decisions.check import CreditCheck

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HAS_50 = "Connection 'lead' can spend 50 credits"
LASTS_5_DAYS = f"{HAS_50}; these last 5.0 days (until 2026-02-05 12:00 UTC) at 10 credits a day, as in the last 7 days"
BALANCE = {"credits": 50, "spendable": 50, "is_frozen": False, "freeze_message": None, "observed_at": NOON.isoformat()}
RUNWAY = {"runway_days": 5, "runs_out_at": "2026-02-05T12:00:00+00:00", "daily_credits": 10}


def amount(value):
    return None if value is None else Decimal(value)


def check(credits="50", *, spent=None, minimum=None, warn_below=None, days=None):
    """Check a balance, and how long it lasts if there is something spent to tell it by."""
    balance = CreditBalance(Decimal(credits), NOON)
    runway = None if spent is None else CreditsRunway(balance, Decimal(spent), 7)
    return CreditCheck("lead", balance, amount(minimum), amount(warn_below), runway, amount(days))


@pytest.mark.parametrize(
    ("asked", "shortfalls"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"minimum": 50}, [], id="as many as there are"),
        pytest.param({"minimum": "50.05"}, [f"{HAS_50}, 50.05 are needed."], id="more than there are"),
        pytest.param({"warn_below": 60}, [], id="to be warned only"),
        pytest.param({"spent": 70}, [], id="no number of days"),
        pytest.param({"spent": 70, "days": 5}, [], id="as many days as they last"),
        pytest.param({"spent": 70, "days": "7.5"}, [f"{LASTS_5_DAYS}; minimum_runway_days is 7.5."], id="more days"),
        pytest.param({"spent": 70, "days": 0}, [], id="no days"),
        pytest.param({"spent": 0, "days": 365}, [], id="days, and nothing was spent"),
        pytest.param(
            {"spent": 70, "days": 7, "minimum": 60},
            [f"{HAS_50}, 60 are needed.", f"{LASTS_5_DAYS}; minimum_runway_days is 7."],
            id="more of both",
        ),
        pytest.param(
            {"spent": 70, "days": 7, "minimum": 50}, [f"{LASTS_5_DAYS}; minimum_runway_days is 7."], id="days"
        ),
        pytest.param({"spent": 70, "days": 5, "minimum": 60}, [f"{HAS_50}, 60 are needed."], id="credits"),
    ],
)
def test_what_is_short_is_said_in_one_sentence_each(asked, shortfalls):
    assert check(**asked).shortfalls() == shortfalls


@pytest.mark.parametrize(
    ("asked", "warnings"),
    [
        pytest.param({"minimum": 60}, [], id="below the minimum only"),
        pytest.param({"warn_below": 50}, [], id="as many as there are"),
        pytest.param({"warn_below": "50.05"}, [f"{HAS_50}, and warn_below is 50.05."], id="fewer"),
        pytest.param({"spent": 70, "days": 7}, [f"{LASTS_5_DAYS}; minimum_runway_days is 7."], id="fewer days"),
        pytest.param(
            {"spent": 70, "days": 7, "warn_below": 60},
            [f"{HAS_50}, and warn_below is 60.", f"{LASTS_5_DAYS}; minimum_runway_days is 7."],
            id="fewer of both",
        ),
    ],
)
def test_what_people_want_to_know_in_time_is_said_in_one_sentence_each(asked, warnings):
    assert check(**asked).warnings() == warnings


@pytest.mark.parametrize(
    ("credits", "spent", "sentence"),
    [
        pytest.param("69.99", 70, "these last 6.9 days (until 2026-02-07 11:58 UTC) at 10 credits a day", id="nearly"),
        pytest.param("5", 7000, "these last 0.0 days (until 2026-01-31 12:07 UTC) at 1,000 credits a day", id="hardly"),
        pytest.param("-5", 70, "these last 0.0 days (until 2026-01-31 12:00 UTC) at 10 credits a day", id="overdrawn"),
        pytest.param("0", 0, "these last 0.0 days (until 2026-01-31 12:00 UTC) at 0 credits a day", id="run dry"),
    ],
)
def test_days_that_do_not_suffice_never_read_as_if_they_did(credits, spent, sentence):
    [shortfall] = check(credits, spent=spent, days=7).shortfalls()
    assert shortfall == (
        f"Connection 'lead' can spend {credits} credits; {sentence}, as in the last 7 days; minimum_runway_days is 7."
    )


def test_a_moment_beyond_the_year_9999_is_left_out():
    [shortfall] = check("5000000", spent=7, days="6e6").shortfalls()
    assert "; these last 5,000,000.0 days at 1 credits a day, " in shortfall


@pytest.mark.parametrize(
    ("asked", "required"),
    [
        pytest.param({}, None, id="nothing"),
        pytest.param({"minimum": 60}, 60, id="credits"),
        pytest.param({"minimum": 0}, 0, id="no credits"),
        pytest.param({"spent": 70, "days": 7}, 70, id="days"),
        pytest.param({"spent": 10, "days": 7}, 10, id="days, at a pace that is not whole"),
        pytest.param({"spent": 70, "days": 7, "minimum": 60}, 70, id="both, the days cost more"),
        pytest.param({"spent": 70, "days": 7, "minimum": 80}, 80, id="both, the credits are more"),
        pytest.param({"spent": 0, "days": 7, "minimum": 60}, 60, id="both, and nothing was spent"),
        pytest.param({"spent": 0, "days": 7}, None, id="days, and nothing was spent"),
    ],
)
def test_it_tells_the_credits_that_would_do_for_everything_that_is_asked(asked, required):
    assert check(**asked).required == required


@pytest.mark.parametrize(
    ("asked", "report"),
    [
        pytest.param({}, {"minimum_credits": None, "sufficient": None}, id="nothing"),
        pytest.param({"warn_below": 60}, {"minimum_credits": None, "sufficient": None}, id="to be warned only"),
        pytest.param({"minimum": 50}, {"minimum_credits": 50, "sufficient": True}, id="credits"),
        pytest.param({"minimum": 51}, {"minimum_credits": 51, "sufficient": False}, id="too many credits"),
        pytest.param({"spent": 70}, {"minimum_credits": None, "sufficient": None}, id="no number of days"),
        pytest.param(
            {"spent": 70, "days": 5},
            {"minimum_credits": None, **RUNWAY, "minimum_runway_days": 5, "sufficient": True},
            id="days",
        ),
        pytest.param(
            {"spent": 70, "days": "5.5", "minimum": 50},
            {"minimum_credits": 50, **RUNWAY, "minimum_runway_days": 5.5, "sufficient": False},
            id="credits and too many days",
        ),
        pytest.param(
            {"spent": 70, "days": 5, "minimum": 51},
            {"minimum_credits": 51, **RUNWAY, "minimum_runway_days": 5, "sufficient": False},
            id="days and too many credits",
        ),
        pytest.param(
            {"spent": 70, "days": 5, "minimum": 50},
            {"minimum_credits": 50, **RUNWAY, "minimum_runway_days": 5, "sufficient": True},
            id="both",
        ),
    ],
)
def test_the_report_is_plain_json_and_its_verdict_covers_what_is_asked(asked, report):
    assert json.loads(json.dumps(check(**asked).report(), allow_nan=False)) == {**BALANCE, **report}
