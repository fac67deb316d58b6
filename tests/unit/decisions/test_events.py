"""What a trigger sends is understood by whatever version of the worker receives it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_leadmagic import exceptions
from airflow_provider_leadmagic.api.models import CreditBalance
from airflow_provider_leadmagic.decisions.events import error_event, open_event, report_from
from airflow_provider_leadmagic.exceptions import LeadMagicError

SEEN_AT = datetime(2026, 11, 22, 2, 0, 3, tzinfo=UTC)
BALANCE = CreditBalance(Decimal("1979.15"), SEEN_AT, True, Decimal("0.15"), Decimal(1979), "late")
FAMILY = [
    member for member in vars(exceptions).values() if isinstance(member, type) and issubclass(member, LeadMagicError)
]


def test_the_balance_arrives_as_it_was_seen() -> None:
    assert report_from(open_event(BALANCE, Decimal(5))) == BALANCE.report(Decimal(5))


@pytest.mark.parametrize("error_class", FAMILY)
def test_every_error_arrives_as_what_it_was(error_class: type[LeadMagicError]) -> None:
    sent = error_class("It went wrong.", status=418, code="teapot", request_id="r-1", transient=True)
    sent.retry_after = 2.5

    with pytest.raises(LeadMagicError) as received:
        report_from(error_event(sent))

    assert type(received.value) is error_class
    assert str(received.value) == "It went wrong."
    assert (received.value.status, received.value.code, received.value.request_id) == (418, "teapot", "r-1")
    assert (received.value.transient, received.value.retry_after) == (True, 2.5)


def test_what_else_an_error_carries_stays_behind() -> None:
    error = LeadMagicError("It went wrong.")
    error.api_key = "some-secret-key"  # type: ignore[attr-defined]

    assert "some-secret-key" not in str(error_event(error))


@pytest.mark.parametrize(
    "event",
    [
        {**open_event(BALANCE, Decimal(5)), "news": 1},
        {**open_event(BALANCE, Decimal(5)), "balance": {**BALANCE.to_json(), "credits_pending": "3"}},
    ],
)
def test_a_newer_triggerer_may_say_more(event: Any) -> None:
    assert report_from(event)["sufficient"] is True


@pytest.mark.parametrize(
    ("change", "error_class"),
    [
        ({"error": "LeadMagicQuotaError"}, LeadMagicError),
        ({"error": "annotations"}, LeadMagicError),
        ({"error": "Any"}, LeadMagicError),
        ({"fields": {"status": 401, "quota": 3}}, exceptions.LeadMagicAuthenticationError),
    ],
    ids=str,
)
def test_a_newer_triggerer_may_know_more_errors(change: dict[str, Any], error_class: type[LeadMagicError]) -> None:
    event = error_event(exceptions.LeadMagicAuthenticationError("Rejected."))

    with pytest.raises(LeadMagicError, match=r"^Rejected\.$") as received:
        report_from({**event, **change})
    assert type(received.value) is error_class


@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        "open",
        3,
        {"status": "later"},
        {"status": "open"},
        {"status": "open", "balance": {}, "minimum_credits": "5"},
        {"status": "open", "balance": {**BALANCE.to_json(), "credits": "many"}, "minimum_credits": "5"},
        {"status": "open", "balance": BALANCE.to_json()},
        {"status": "error"},
        {"status": "error", "error": 5, "message": "It went wrong."},
    ],
    ids=str,
)
def test_an_event_that_makes_no_sense_is_an_error_and_no_success(event: Any) -> None:
    with pytest.raises(LeadMagicError, match=r"^Unexpected trigger event: "):
        report_from(event)
