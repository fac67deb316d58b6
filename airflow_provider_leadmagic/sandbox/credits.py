"""The credits endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Response

from airflow_provider_leadmagic.sandbox.errors import AsciiJsonResponse

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.state import SandboxState


def credits_router(state: SandboxState) -> APIRouter:
    """Build the routes under ``/v1/credits``."""
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
