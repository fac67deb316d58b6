"""Parsing of bulk submissions, sent as rows or CSV. Options that the sandbox does not support are rejected."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from airflow_provider_leadmagic.sandbox.errors import ApiError, validation_error
from airflow_provider_leadmagic.sandbox.products import COMPANY_SEARCH, PRODUCTS, Product, Row
from airflow_provider_leadmagic.sandbox.request_bodies import Body, check_body

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

SOURCES = ("rows", "csv", "fileUrl", "scrape")
# LeadMagic's OpenAPI file says company_search, and its other document about bulk jobs says
# company_finder; both are accepted.
BULK_PRODUCTS = {product.name: product for product in PRODUCTS} | {"company_finder": COMPANY_SEARCH}
# Rejected, because a client that sends one of them relies on its effect.
UNSUPPORTED = {
    "fileUrl": "send the rows as rows or csv",
    "scrape": "send the rows as rows or csv",
    "inputMapping": "use the product's field names in the rows",
    "outputTransform": "omit it",
    "presetId": "omit it",
    "callback": "omit it and poll the job",
    "priority": "omit it; jobs are processed in the order of submission",
}


@dataclass(frozen=True)
class Submission:
    """
    A validated submission.

    :param product_name: The product's name as the client wrote it.
    :param product: The product that each row looks up.
    :param rows: The input fields of each row.
    :param idempotency_key: ``None`` if it was missing or empty.
    :param file_name: ``None`` if it was missing or empty.
    """

    product_name: str
    product: Product
    rows: Sequence[Row]
    idempotency_key: str | None = None
    file_name: str | None = None

    @property
    def ceiling(self) -> Decimal:
        """The price in credits if every row is a hit."""
        return self.product.price * len(self.rows)


class _SubmitBody(Body):
    product: str
    rows: list[dict[str, Any]] = Field(default_factory=list)
    csv: str = ""
    idempotency_key: str = ""
    file_name: str = ""


def read_submission(body: object) -> Submission:
    """
    Parse the body of a submit request.

    :raises ApiError: If the body is invalid or uses an option that the sandbox does not support.
    """
    fields = check_body(_SubmitBody, body)
    source = _choose_source(body if isinstance(body, dict) else {})
    return Submission(
        product_name=fields.product,
        product=find_product(fields.product),
        rows=_check_not_empty(fields.rows if source == "rows" else _read_csv(fields.csv), source),
        idempotency_key=fields.idempotency_key or None,
        file_name=fields.file_name or None,
    )


def find_product(name: str) -> Product:
    """
    Return the product that has this name in bulk jobs.

    :raises ApiError: If the sandbox has no such product.
    """
    if name not in BULK_PRODUCTS:
        known = ", ".join(BULK_PRODUCTS)
        raise ApiError(validation_error(f"product must be one of {known} in the sandbox; got {name!r}.", "product"))
    return BULK_PRODUCTS[name]


def _choose_source(body: dict[str, Any]) -> str:
    given = [name for name in SOURCES if name in body]
    if len(given) != 1:
        raise ApiError(validation_error(f"Exactly one of {', '.join(SOURCES)} is required.", *(given or SOURCES)))
    for name, advice in UNSUPPORTED.items():
        if name in body:
            raise ApiError(validation_error(f"{name} is not supported by the sandbox: {advice}.", name))
    return given[0]


def _check_not_empty(rows: list[Row], source: str) -> list[Row]:
    if not rows:
        raise ApiError(validation_error(f"{source} must contain at least one row.", source))
    return rows


def _read_csv(text: str) -> list[Row]:
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        # A line may have fewer cells than the header. The fields of the absent cells are then missing, not empty.
        return [{name: cell for name, cell in _by_column(row).items() if cell is not None} for row in reader]
    except (csv.Error, ValueError) as error:
        raise ApiError(validation_error(f"csv line {reader.reader.line_num} is invalid: {error}.", "csv")) from error


def _by_column(row: dict[str | None, object]) -> dict[str, object]:
    if None in row:
        raise ValueError("more cells than the header has columns")
    return {str(name): cell for name, cell in row.items()}
