"""The controls under ``/_sandbox/``: what the Python handle does, over HTTP and without a key."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict

from airflow_provider_leadmagic.sandbox.account import DEFAULT_FREEZE_MESSAGE
from airflow_provider_leadmagic.sandbox.errors import AsciiJsonResponse
from airflow_provider_leadmagic.sandbox.faults import Fault  # noqa: TC001 - FastAPI reads the annotation
from airflow_provider_leadmagic.sandbox.usage import Credits, Spending  # noqa: TC001 - the same

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.state import SandboxState

CONTROL_PREFIX = "/_sandbox"


class CreditsChange(BaseModel):
    """What to do to the balance; only the named parts change."""

    model_config = ConfigDict(extra="forbid")

    set: Credits | None = None
    add: Credits | None = None
    bare_body: bool | None = None


class Freeze(BaseModel):
    """How to freeze the account."""

    model_config = ConfigDict(extra="forbid")

    message: str | None = DEFAULT_FREEZE_MESSAGE
    liquid: Credits = Decimal(0)


class AnalyticsChange(BaseModel):
    """How the analytics are answered from now on."""

    model_config = ConfigDict(extra="forbid")

    wrap_analytics: bool


def describe(state: SandboxState) -> AsciiJsonResponse:
    """Answer with everything but the log and the key."""
    spent: dict[str, Decimal] = defaultdict(Decimal)
    for charge in state.account.charges:
        if charge.credits:
            spent[charge.product] += charge.credits
    return AsciiJsonResponse(
        {
            "balance": state.account.balance(),
            "bare_body": state.account.bare_body,
            "wrap_analytics": state.wrap_analytics,
            "bulk": asdict(state.bulk.settings),
            "spent": spent,
            "faults": [asdict(fault) for fault in state.faults.pending],
            "requests": len(state.requests.entries()),
        }
    )


def control_router(state: SandboxState) -> APIRouter:
    """Build all controls; each one that changes something answers with the state after it."""
    router = APIRouter(prefix=CONTROL_PREFIX)
    _add_account_controls(router, state)
    _add_analytics_controls(router, state)
    _add_fault_controls(router, state)
    _add_log_controls(router, state)

    @router.get("/state")
    async def read_state() -> Response:
        return describe(state)

    @router.post("/reset")
    async def reset() -> Response:
        state.reset()
        return describe(state)

    return router


def _add_account_controls(router: APIRouter, state: SandboxState) -> None:
    @router.post("/credits")
    async def change_credits(change: CreditsChange) -> Response:
        if change.set is not None:
            state.account.set_credits(change.set)
        if change.add is not None:
            state.account.add_credits(change.add)
        if change.bare_body is not None:
            state.account.bare_body = change.bare_body
        return describe(state)

    @router.post("/freeze")
    async def freeze(freeze: Freeze) -> Response:
        state.account.freeze(freeze.message, freeze.liquid)
        return describe(state)

    @router.post("/unfreeze")
    async def unfreeze() -> Response:
        state.account.unfreeze()
        return describe(state)


def _add_analytics_controls(router: APIRouter, state: SandboxState) -> None:
    @router.post("/analytics")
    async def change_analytics(change: AnalyticsChange) -> Response:
        state.wrap_analytics = change.wrap_analytics
        return describe(state)

    @router.post("/spending")
    async def record_spending(spending: Spending) -> Response:
        state.account.record(spending.as_charge())
        return describe(state)


def _add_fault_controls(router: APIRouter, state: SandboxState) -> None:
    @router.post("/faults")
    async def add_fault(fault: Fault) -> Response:
        state.faults.add(fault)
        return describe(state)

    @router.delete("/faults")
    async def clear_faults() -> Response:
        state.faults.clear()
        return describe(state)


def _add_log_controls(router: APIRouter, state: SandboxState) -> None:
    @router.get("/requests")
    async def read_requests(path: str | None = None) -> Response:
        return AsciiJsonResponse([asdict(entry) for entry in state.requests.entries(path)])

    @router.delete("/requests")
    async def clear_requests() -> Response:
        state.requests.clear()
        return describe(state)
