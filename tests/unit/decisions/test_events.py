"""Events of a trigger can be read by a worker that runs another version of this package."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_leadmagic import exceptions
from airflow_provider_leadmagic.api.models import CreditBalance
from airflow_provider_leadmagic.decisions.events import error_event, error_from_event, report_from, sufficient_event
from airflow_provider_leadmagic.exceptions import InsufficientCreditsError, LeadMagicError

OBSERVED_AT = datetime(2026, 11, 22, 2, 0, 3, tzinfo=UTC)
BALANCE = CreditBalance(Decimal("1979.15"), OBSERVED_AT, True, Decimal("0.15"), Decimal(1979), "late")
ERROR_CLASSES = [
    member for member in vars(exceptions).values() if isinstance(member, type) and issubclass(member, LeadMagicError)
]


def test_a_balance_keeps_its_report_through_an_event() -> None:
    assert report_from(sufficient_event(BALANCE, Decimal(5))) == BALANCE.report(Decimal(5))


@pytest.mark.parametrize("error_class", ERROR_CLASSES)
def test_an_error_keeps_its_class_and_fields_through_an_event(error_class: type[LeadMagicError]) -> None:
    sent = error_class("It failed.", status=418, code="teapot", request_id="r-1", transient=True)
    sent.retry_after = 2.5

    with pytest.raises(LeadMagicError) as received:
        report_from(error_event(sent))

    assert type(received.value) is error_class
    assert str(received.value) == "It failed."
    assert (received.value.status, received.value.code, received.value.request_id) == (418, "teapot", "r-1")
    assert (received.value.transient, received.value.retry_after) == (True, 2.5)


def test_credits_and_uncertainty_of_an_error_are_kept_through_an_event_of_json() -> None:
    sent = InsufficientCreditsError("It failed.", required=Decimal("500.05"), available=Decimal(0))
    sent.maybe_executed = True

    received: Any = error_from_event(json.loads(json.dumps(error_event(sent))))

    assert (received.required, received.available, received.maybe_executed) == (Decimal("500.05"), Decimal(0), True)


@pytest.mark.parametrize("fields", [{}, {"required": None}, {"required": "many", "available": "NaN"}], ids=str)
def test_an_error_without_valid_amounts_is_kept(fields: dict[str, Any]) -> None:
    event = {"status": "error", "error": "InsufficientCreditsError", "message": "It failed.", "fields": fields}

    received: Any = error_from_event(event)

    assert (str(received), received.required, received.available) == ("It failed.", None, None)
    assert received.maybe_executed is False


def test_an_event_contains_no_other_attributes_of_the_error() -> None:
    error = LeadMagicError("It failed.")
    error.api_key = "some-secret-key"  # type: ignore[attr-defined]

    assert "some-secret-key" not in str(error_event(error))


@pytest.mark.parametrize(
    "event",
    [
        {**sufficient_event(BALANCE, Decimal(5)), "added_later": 1},
        {**sufficient_event(BALANCE, Decimal(5)), "balance": {**BALANCE.to_json(), "credits_pending": "3"}},
    ],
)
def test_additional_fields_of_a_newer_triggerer_are_accepted(event: Any) -> None:
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
def test_an_unknown_error_class_of_a_newer_triggerer_becomes_a_leadmagic_error(
    change: dict[str, Any], error_class: type[LeadMagicError]
) -> None:
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
        {"status": "error", "error": 5, "message": "It failed."},
        {"status": "error", "error": "LeadMagicError", "message": "It failed.", "fields": None},
        {"status": "error", "error": "LeadMagicError", "message": "It failed.", "fields": ["status"]},
    ],
    ids=str,
)
def test_an_unexpected_event_raises_an_error(event: Any) -> None:
    with pytest.raises(LeadMagicError, match=r"^Unexpected trigger event: "):
        report_from(event)
