"""What becomes of one row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_leadmagic.sandbox.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_leadmagic.sandbox.products import Given, Lookup, Product

FAILURE_MARKER = "invalid"
FLAKY_MARKER = "flaky"

Row = dict[str, object]


class RowFailedError(Exception):
    """A row without a result, which is free."""

    def __init__(self, http_status: int, message: str) -> None:
        super().__init__(message)
        self.http_status = http_status


def look_up_row(product: Product, row: Mapping[str, object], earlier_failures: int = 0) -> Lookup:
    """
    Look one row up, as a single call would.

    :param product: what is looked up.
    :param row: its fields; what contains ``invalid`` fails, what contains ``flaky`` fails the first time.
    :param earlier_failures: how often the row has failed before.
    :raises RowFailedError: if it fails.
    """
    try:
        given = product.check(row)
        _fail_if_marked(given, earlier_failures)
        return product.look_up(given)
    except ApiError as error:
        # The single lookups answer 400 to such input; in LeadMagic's sample of a failed row it is 422.
        raise RowFailedError(422, error.problem.detail or error.problem.title) from error


def _fail_if_marked(given: Given, earlier_failures: int) -> None:
    for name, value in given.items():
        text = (value or "").lower()
        if FAILURE_MARKER in text:
            raise RowFailedError(422, f"Invalid {name} format: {value}")
        if FLAKY_MARKER in text and not earlier_failures:
            raise RowFailedError(503, "Service temporarily unavailable. Please try again later.")
