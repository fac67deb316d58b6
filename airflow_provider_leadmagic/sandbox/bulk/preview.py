"""What a batch would cost: free to ask, and a ceiling, because misses are free."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from airflow_provider_leadmagic.sandbox.bodies import Body, check_body, read_json
from airflow_provider_leadmagic.sandbox.bulk.submission import find_product
from airflow_provider_leadmagic.sandbox.errors import ApiError, AsciiJsonResponse, missing_required_field

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.state import SandboxState

USD_PER_CREDIT = Decimal("0.01")


class _Item(Body):
    product: str = ""
    input: dict[str, Any] = Field(default_factory=dict)


class _PreviewBody(Body):
    items: Annotated[list[_Item], Field(min_length=1, max_length=10_000)]


def preview_router(state: SandboxState) -> APIRouter:
    """Build the preview, which needs nothing of the state."""
    router = APIRouter()

    @router.post("/v1/batch/preview-cost")
    async def preview_cost(request: Request) -> Response:
        body = check_body(_PreviewBody, await read_json(request))
        return AsciiJsonResponse(_report(_count([item.product for item in body.items])))

    return router


def _count(products: list[str]) -> Counter[str]:
    named = {product for product in products if product}
    # "Needed when products are mixed": those without one are of the only one that is named.
    if not named or (len(named) > 1 and "" in products):
        raise ApiError(missing_required_field(("product",)))
    return Counter(product or min(named) for product in products)


def _report(items: Counter[str]) -> dict[str, object]:
    per_product = [_price(name, count) for name, count in items.items()]
    total = sum((price["credits"] for price in per_product), Decimal(0))
    return {
        "totalItems": items.total(),
        "creditsPerItem": per_product[0]["creditsPerItem"] if len(per_product) == 1 else None,
        "totalCredits": total,
        "estimatedCostUsd": total * USD_PER_CREDIT,
        "perProduct": per_product,
        # The sandbox has no clients and no budgets, which are caps of their own: the balance is none.
        "clientCreditRemaining": None,
        "willExceedBudget": False,
    }


def _price(name: str, count: int) -> dict[str, Any]:
    price = find_product(name).price
    return {"product": name, "items": count, "creditsPerItem": price, "credits": price * count}
