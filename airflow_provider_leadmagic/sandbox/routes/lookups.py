"""The paid lookups: one route per product."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from airflow_provider_leadmagic.sandbox.account import InsufficientCreditsError, Receipt
from airflow_provider_leadmagic.sandbox.bodies import read_json
from airflow_provider_leadmagic.sandbox.errors import ApiError, AsciiJsonResponse, insufficient_credits
from airflow_provider_leadmagic.sandbox.products import PRODUCTS, Lookup, Product
from airflow_provider_leadmagic.sandbox.rate_limits import metered_headers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow_provider_leadmagic.sandbox.state import SandboxState


def enrichment_router(state: SandboxState) -> APIRouter:
    """Build the routes of all products."""
    router = APIRouter()
    for product in PRODUCTS:
        router.add_api_route(product.path, _sell(product, state), methods=["POST"], name=product.name)
    return router


def _sell(product: Product, state: SandboxState) -> Callable[[Request], Awaitable[Response]]:
    async def sell(request: Request) -> Response:
        given = product.check(await read_json(request))
        lookup = product.look_up(given)
        receipt = _settle(product, lookup, state)
        body = {**lookup.result, "credits_consumed": receipt.consumed}
        return AsciiJsonResponse(body, headers=metered_headers(receipt, state.requests))

    return sell


def _settle(product: Product, lookup: Lookup, state: SandboxState) -> Receipt:
    try:
        return state.account.pay(product.name, product.price, found=lookup.found)
    except InsufficientCreditsError as error:
        raise ApiError(insufficient_credits(error.required, error.available)) from error
