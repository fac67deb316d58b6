"""What is ordered with a bulk job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from airflow_provider_leadmagic.sandbox.bodies import Body, check_body
from airflow_provider_leadmagic.sandbox.bulk.csv_rows import read_csv
from airflow_provider_leadmagic.sandbox.errors import ApiError, validation_error
from airflow_provider_leadmagic.sandbox.products import COMPANY_SEARCH, PRODUCTS, Product

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from airflow_provider_leadmagic.sandbox.products import Row

SOURCES = ("rows", "csv", "fileUrl", "scrape")
# LeadMagic's OpenAPI file and its skill file have different names for it.
BULK_PRODUCTS = {product.name: product for product in PRODUCTS} | {"company_finder": COMPANY_SEARCH}
# What would change the result and is refused, because to ignore it would be a lie.
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
    An order.

    :param product_name: the product by the name it was ordered under.
    :param idempotency_key: an empty one is none.
    """

    product_name: str
    product: Product
    rows: Sequence[Row]
    idempotency_key: str | None = None
    file_name: str | None = None

    @property
    def ceiling(self) -> Decimal:
        """What it costs if every row is a hit."""
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

    :raises ApiError: if it makes no sense, or asks for what the sandbox does not imitate.
    """
    fields = check_body(_SubmitBody, body)
    source = _refuse_what_is_not_imitated(body if isinstance(body, dict) else {})
    return Submission(
        product_name=fields.product,
        product=find_product(fields.product),
        rows=_not_empty(fields.rows if source == "rows" else read_csv(fields.csv), source),
        idempotency_key=fields.idempotency_key or None,
        file_name=fields.file_name or None,
    )


def find_product(name: str) -> Product:
    """
    Find a product by a name it has in bulk jobs.

    :raises ApiError: if the sandbox does not sell it.
    """
    if name not in BULK_PRODUCTS:
        known = ", ".join(BULK_PRODUCTS)
        raise ApiError(validation_error(f"The sandbox sells {known} only, not {name!r}.", "product"))
    return BULK_PRODUCTS[name]


def _refuse_what_is_not_imitated(body: dict[str, Any]) -> str:
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
