"""Parse the result of one row from the fields that LeadMagic returns."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, NamedTuple

from airflow_provider_leadmagic.api.text import json_number, redact
from airflow_provider_leadmagic.api.validation import is_finite

SUCCESS = "success"
FAILED = "failed"
SKIPPED = "skipped"
#: The fields of a result that are read, in the order of the parameters of :func:`read_result`.
FIELDS = (
    "row_index",
    "status",
    "lm_input",
    "lm_output",
    "credits_consumed",
    "error_message",
    "http_status_code",
)
#: More digits could exceed the 64-bit integers of SQLite; no job has that many rows.
_MAX_DIGITS = 15


class RowResult(NamedTuple):
    """
    The result of one row.

    :param row_index: The position of the row in the submission, from 0.
    :param outcome: ``success``, ``failed`` or ``skipped``.
    :param given: The row as LeadMagic received it, if the result contains it.
    :param found: The fields that LeadMagic found, without the price.
    :param credits_consumed: The price in credits.
    :param error_message: LeadMagic's reason for a failure, with secrets removed.
    :param http_status: The HTTP status that a single lookup of this row would have returned.
    """

    row_index: int
    outcome: str
    given: dict[str, Any] | None = None
    found: dict[str, Any] | None = None
    credits_consumed: int | float | None = None
    error_message: str | None = None
    http_status: int | None = None


def read_result(
    row_index: object,
    status: object,
    lm_input: object,
    lm_output: object,
    credits_consumed: object,
    error_message: object,
    http_status_code: object,
) -> RowResult:
    """
    Parse a result from LeadMagic's fields of the same names. Numbers may be given as text, and text may be empty.

    :raises ValueError: If a field is invalid; the message is its name.
    """
    found, price = _without_price(_found(lm_output), credits_consumed)
    return RowResult(
        _row_index(row_index),
        _outcome(status, found),
        _given(lm_input),
        found,
        None if price in (None, "") else _credits(str(price)),
        redact(error_message) if error_message else None,
        _whole_number(http_status_code),
    )


def _found(value: object) -> dict[str, Any] | None:
    # Some lookups return a list instead of an object: keep it, because it was paid for.
    return value if value is None or isinstance(value, dict) else {"output": value}


def _without_price(found: dict[str, Any] | None, price: object) -> tuple[dict[str, Any] | None, object]:
    """Remove the price from the found fields, where LeadMagic repeats it."""
    if found is None or "credits_consumed" not in found:
        return found, price
    rest = {name: value for name, value in found.items() if name != "credits_consumed"}
    return rest, found["credits_consumed"] if price in (None, "") else price


def _row_index(value: object) -> int:
    index = _whole_number(value)
    if index is None:
        raise ValueError("row_index")
    return index


def _whole_number(value: object) -> int | None:
    text = "" if isinstance(value, bool) else str(value)
    return int(text) if text.isdecimal() and len(text) <= _MAX_DIGITS else None


def _outcome(status: object, found: dict[str, Any] | None) -> str:
    if status in (SUCCESS, FAILED, SKIPPED):
        return str(status)
    if not isinstance(status, str) or not status:
        raise ValueError("status")
    # LeadMagic publishes no list of statuses. A row with an unknown one that has fields counts as succeeded, because
    # the fields were paid for.
    return FAILED if found is None else SUCCESS


def _given(value: object) -> dict[str, Any] | None:
    if value is None or isinstance(value, dict):
        return value
    raise ValueError("lm_input")


@lru_cache(maxsize=1000)  # a few prices occur in many rows
def _credits(text: str) -> int | float:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError("credits_consumed") from None
    if not is_finite(number):
        raise ValueError("credits_consumed")
    return json_number(number)
