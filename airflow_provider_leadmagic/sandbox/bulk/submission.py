"""What is submitted with a bulk job, as rows or as CSV, and the refusal of what the sandbox does not imitate."""

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
# LeadMagic's OpenAPI file and its skill file have different names for it.
BULK_PRODUCTS = {product.name: product for product in PRODUCTS} | {"company_finder": COMPANY_SEARCH}
# These would change the result, so ignoring them would give a false one.
NOT_IMITATED = {
    "fileUrl": "The sandbox fetches no files: send the rows as rows or csv.",
    "scrape": "The sandbox scrapes no pages: send the rows as rows or csv.",
    "inputMapping": "The sandbox maps no columns: name the fields of the rows as the product does.",
    "outputTransform": "The sandbox transforms no output: leave outputTransform out.",
    "presetId": "The sandbox has no presets: leave presetId out.",
    "callback": "The sandbox makes no callbacks: leave callback out, and poll the job.",
    "priority": "The sandbox processes jobs in the order of their submission: leave priority out.",
}


@dataclass(frozen=True)
class Submission:
    """
    What a client submitted.

    :param product_name: the name of the product as the client wrote it.
    :param idempotency_key: ``None`` if it was empty.
    """

    product_name: str
    product: Product
    rows: Sequence[Row]
    idempotency_key: str | None = None
    file_name: str | None = None

    @property
    def ceiling(self) -> Decimal:
        """The price if every row is a hit."""
        return self.product.price * len(self.rows)


class _SubmitBody(Body):
    product: str
    rows: list[dict[str, Any]] = Field(default_factory=list)
    csv: str = ""
    idempotency_key: str = ""
    file_name: str = ""


def read_submission(body: object) -> Submission:
    """
    Read the body of a submit.

    :raises ApiError: if it is not valid, or uses what the sandbox does not imitate.
    """
    fields = check_body(_SubmitBody, body)
    source = _choose_source(body if isinstance(body, dict) else {})
    return Submission(
        product_name=fields.product,
        product=find_product(fields.product),
        rows=_not_empty(fields.rows if source == "rows" else _read_csv(fields.csv), source),
        idempotency_key=fields.idempotency_key or None,
        file_name=fields.file_name or None,
    )


def find_product(name: str) -> Product:
    """
    Find a product by one of its names in bulk jobs.

    :raises ApiError: if the sandbox does not sell it.
    """
    if name not in BULK_PRODUCTS:
        known = ", ".join(BULK_PRODUCTS)
        raise ApiError(validation_error(f"The sandbox sells {known} only, not {name!r}.", "product"))
    return BULK_PRODUCTS[name]


def _choose_source(body: dict[str, Any]) -> str:
    given = [name for name in SOURCES if name in body]
    if len(given) != 1:
        raise ApiError(validation_error(f"Exactly one of {', '.join(SOURCES)} is needed.", *(given or SOURCES)))
    for name, sentence in NOT_IMITATED.items():
        if name in body:
            raise ApiError(validation_error(sentence, name))
    return given[0]


def _not_empty(rows: list[Row], source: str) -> list[Row]:
    if not rows:
        raise ApiError(validation_error(f"{source} has no rows.", source))
    return rows


def _read_csv(text: str) -> list[Row]:
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        # A line may have fewer cells than the header; the rest are missing, not empty.
        return [{name: cell for name, cell in _named(row).items() if cell is not None} for row in reader]
    except (csv.Error, ValueError) as error:
        raise ApiError(validation_error(f"csv, line {reader.reader.line_num}: {error}.", "csv")) from error


def _named(row: dict[str | None, object]) -> dict[str, object]:
    if None in row:
        raise ValueError("more cells than the first line has names")
    return {str(name): cell for name, cell in row.items()}
