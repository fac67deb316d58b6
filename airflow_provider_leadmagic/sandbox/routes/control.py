"""
The controls under ``/_sandbox``: the operations of the Python class ``Sandbox`` over HTTP. They need no API key.

==============================  ==============================================================================
``GET state``                   Return the state: balance, settings, spending and faults
``POST reset``                  Restore the initial state
``POST credits``                Set or add credits, see :class:`CreditsChange`
``POST freeze``                 Freeze the balance or a part of it, see :class:`Freeze`
``POST unfreeze``               Make the whole balance spendable again
``POST spending``               Record a made-up lookup in the past, see ``usage.Spending``
``POST analytics``              Switch the wrapping of analytics responses, see :class:`AnalyticsChange`
``POST faults``                 Queue a fault, see ``faults.Fault``
``DELETE faults``               Remove all queued faults
``GET requests?path=...``       Return the request log; with ``path``, only the requests to this path
``DELETE requests``             Clear the request log
``POST bulk``                   Change the settings of bulk jobs, see :class:`SettingsChange`
``POST bulk/advance``           Process a number of rows, see :class:`Rows`; return how many were processed
``GET bulk/submits``            Return the number of submits per idempotency key
``GET bulk/jobs``               Return all jobs, oldest first
``POST bulk/jobs``              Add a completed job, see :class:`OneRowOrMore`; return its ID
``GET bulk/jobs/{id}/charges``  Return the number of charges per row index
``POST bulk/jobs/{id}/fail``    End a job as failed, and return it
==============================  ==============================================================================

Controls that change something other than jobs return the new state. An invalid body returns 422, a body without
``Content-Type: application/json`` 415, a request from a web page of another site 403, and an unknown job 404.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_leadmagic.sandbox.account import DEFAULT_FREEZE_MESSAGE
from airflow_provider_leadmagic.sandbox.bulk.store import RowsPerSecond, SubmitNeeds  # noqa: TC001 - pydantic reads it
from airflow_provider_leadmagic.sandbox.errors import AsciiJsonResponse
from airflow_provider_leadmagic.sandbox.faults import Fault  # noqa: TC001 - FastAPI reads the annotation
from airflow_provider_leadmagic.sandbox.usage import Credits, Spending  # noqa: TC001 - the same

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.state import SandboxState

CONTROL_PREFIX = "/_sandbox"


def control_router(state: SandboxState) -> APIRouter:
    """Build all controls. Those that change the account, faults, log or settings return the new state."""
    router = APIRouter(prefix=CONTROL_PREFIX)
    _add_state_controls(router, state)
    _add_account_controls(router, state)
    _add_analytics_controls(router, state)
    _add_fault_controls(router, state)
    _add_log_controls(router, state)
    _add_bulk_controls(router, state)
    _add_job_controls(router, state)
    return router


def _add_state_controls(router: APIRouter, state: SandboxState) -> None:
    @router.get("/state")
    async def read_state() -> Response:
        return _state_response(state)

    @router.post("/reset")
    async def reset() -> Response:
        state.reset()
        return _state_response(state)


def _state_response(state: SandboxState) -> AsciiJsonResponse:
    # Omits the API key, and reports only the length of the request log.
    return AsciiJsonResponse(
        {
            "balance": state.account.balance(),
            "bare_body": state.account.bare_body,
            "wrap_analytics": state.wrap_analytics,
            "bulk": asdict(state.bulk.settings),
            "spent": _spent(state),
            "faults": [asdict(fault) for fault in state.faults.pending],
            "requests": len(state.requests.entries()),
        }
    )


def _spent(state: SandboxState) -> dict[str, Decimal]:
    spent: dict[str, Decimal] = defaultdict(Decimal)
    for charge in state.account.charges:
        if charge.credits:
            spent[charge.product] += charge.credits
    return spent


class CreditsChange(BaseModel):
    """
    The body of ``POST /_sandbox/credits``. Omitted fields change nothing; ``set`` is applied before ``add``.

    :param set: The new balance in credits, 0 or more.
    :param add: Credits to add, 0 or more.
    :param bare_body: Whether to return the balance with the documented field ``credits`` only.
    """

    model_config = ConfigDict(extra="forbid")

    set: Credits | None = None
    add: Credits | None = None
    bare_body: bool | None = None


class Freeze(BaseModel):
    """
    The body of ``POST /_sandbox/freeze``.

    :param message: The reason, returned by the API as ``credit_freeze_message``.
    :param liquid: Credits that stay spendable; 0 by default.
    """

    model_config = ConfigDict(extra="forbid")

    message: str | None = DEFAULT_FREEZE_MESSAGE
    liquid: Credits = Decimal(0)


def _add_account_controls(router: APIRouter, state: SandboxState) -> None:
    @router.post("/credits")
    async def change_credits(change: CreditsChange) -> Response:
        if change.set is not None:
            state.account.set_credits(change.set)
        if change.add is not None:
            state.account.add_credits(change.add)
        if change.bare_body is not None:
            state.account.bare_body = change.bare_body
        return _state_response(state)

    @router.post("/freeze")
    async def freeze(freeze: Freeze) -> Response:
        state.account.freeze(freeze.message, freeze.liquid)
        return _state_response(state)

    @router.post("/unfreeze")
    async def unfreeze() -> Response:
        state.account.unfreeze()
        return _state_response(state)


class AnalyticsChange(BaseModel):
    """
    The body of ``POST /_sandbox/analytics``.

    :param wrap_analytics: Whether to return the analytics wrapped in ``{"data": ...}``.
    """

    model_config = ConfigDict(extra="forbid")

    wrap_analytics: bool


def _add_analytics_controls(router: APIRouter, state: SandboxState) -> None:
    @router.post("/analytics")
    async def change_analytics(change: AnalyticsChange) -> Response:
        state.wrap_analytics = change.wrap_analytics
        return _state_response(state)

    @router.post("/spending")
    async def record_spending(spending: Spending) -> Response:
        state.account.record(spending.as_charge())
        return _state_response(state)


def _add_fault_controls(router: APIRouter, state: SandboxState) -> None:
    @router.post("/faults")
    async def add_fault(fault: Fault) -> Response:
        state.faults.add(fault)
        return _state_response(state)

    @router.delete("/faults")
    async def clear_faults() -> Response:
        state.faults.clear()
        return _state_response(state)


def _add_log_controls(router: APIRouter, state: SandboxState) -> None:
    @router.get("/requests")
    async def read_requests(path: str | None = None) -> Response:
        return AsciiJsonResponse([asdict(entry) for entry in state.requests.entries(path)])

    @router.delete("/requests")
    async def clear_requests() -> Response:
        state.requests.clear()
        return _state_response(state)


class SettingsChange(BaseModel):
    """
    The body of ``POST /_sandbox/bulk``. Omitted fields change nothing.

    :param rows_per_second: Rows per second of all jobs together, above 0; ``null`` completes jobs instantly.
    :param paused_clock: If true, rows are processed only by ``POST /_sandbox/bulk/advance``.
    :param submit_needs: The credits that a submit requires: the price of one hit (``one_row``), or of a hit in every
        row (``all_rows``).
    """

    model_config = ConfigDict(extra="forbid")

    rows_per_second: RowsPerSecond = None
    paused_clock: bool = False
    submit_needs: SubmitNeeds = "one_row"


class Rows(BaseModel):
    """The body of ``POST /_sandbox/bulk/advance``: the maximum number of rows to process, 0 or more."""

    model_config = ConfigDict(extra="forbid")

    rows: Annotated[int, Field(strict=True, ge=0)]


class OneRowOrMore(Rows):
    """The body of ``POST /_sandbox/bulk/jobs``: the number of rows of the made-up job, 1 or more."""

    rows: Annotated[int, Field(strict=True, ge=1)]


def _add_bulk_controls(router: APIRouter, state: SandboxState) -> None:
    @router.post("/bulk")
    async def change_settings(change: SettingsChange) -> Response:
        state.bulk.change(**change.model_dump(exclude_unset=True))
        return _state_response(state)

    @router.post("/bulk/advance")
    async def advance(rows: Rows) -> Response:
        return AsciiJsonResponse({"rows": state.bulk.advance(rows.rows)})

    @router.get("/bulk/submits")
    async def count_submits() -> Response:
        return AsciiJsonResponse(state.bulk.submits)


def _add_job_controls(router: APIRouter, state: SandboxState) -> None:
    @router.get("/bulk/jobs")
    async def list_jobs() -> Response:
        return AsciiJsonResponse([asdict(job) for job in state.bulk.copies()])

    @router.post("/bulk/jobs")
    async def make_up_job(size: OneRowOrMore) -> Response:
        return AsciiJsonResponse({"job_id": state.bulk.make_up(size.rows)})

    @router.get("/bulk/jobs/{job_id}/charges")
    async def count_charges(job_id: str) -> Response:
        return AsciiJsonResponse(state.bulk.charges(job_id))

    @router.post("/bulk/jobs/{job_id}/fail")
    async def fail_job(job_id: str) -> Response:
        return AsciiJsonResponse(asdict(state.bulk.fail(job_id)))
