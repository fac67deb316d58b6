"""The routes of the balance under ``/v1/credits``, and of the single lookups, one per product."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from airflow_provider_leadmagic.sandbox.account import InsufficientCreditsError, Receipt
from airflow_provider_leadmagic.sandbox.errors import ApiError, AsciiJsonResponse, insufficient_credits
from airflow_provider_leadmagic.sandbox.products import PRODUCTS, Lookup, Product
from airflow_provider_leadmagic.sandbox.rate_limits import metered_headers
from airflow_provider_leadmagic.sandbox.request_bodies import read_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow_provider_leadmagic.sandbox.state import SandboxState


def credits_router(state: SandboxState) -> APIRouter:
    """Build the routes under ``/v1/credits``. They are free."""
    router = APIRouter(prefix="/v1/credits")

    @router.get("")
    async def read_balance() -> Response:
        return AsciiJsonResponse(state.account.balance())

    @router.post("/refresh")
    async def refresh_balance() -> Response:
        return AsciiJsonResponse({"message": "Balance reloaded."})

    @router.get("/health")
    async def check_key() -> Response:
        return AsciiJsonResponse({"status": "ok"})

    return router


def lookups_router(state: SandboxState) -> APIRouter:
    """Build one lookup route per product. Only hits are charged."""
    router = APIRouter()
    for product in PRODUCTS:
        router.add_api_route(product.path, _lookup_endpoint(product, state), methods=["POST"], name=product.name)
    return router


def _lookup_endpoint(product: Product, state: SandboxState) -> Callable[[Request], Awaitable[Response]]:
    async def look_up(request: Request) -> Response:
        given = product.check(await read_json(request))
        lookup = product.look_up(given)
        receipt = _pay(product, lookup, state)
        body = {**lookup.result, "credits_consumed": receipt.consumed}
        return AsciiJsonResponse(body, headers=metered_headers(receipt, state.requests))

    return look_up


def _pay(product: Product, lookup: Lookup, state: SandboxState) -> Receipt:
    try:
        return state.account.pay(product.name, product.price, found=lookup.found)
    except InsufficientCreditsError as error:
        raise ApiError(insufficient_credits(error.required, error.available)) from error
