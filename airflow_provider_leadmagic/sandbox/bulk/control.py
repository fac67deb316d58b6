"""The controls of bulk jobs, over HTTP and without a key."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_leadmagic.sandbox.bulk.store import RowsPerSecond, SubmitNeeds  # noqa: TC001 - pydantic reads it
from airflow_provider_leadmagic.sandbox.errors import AsciiJsonResponse
from airflow_provider_leadmagic.sandbox.routes.control import CONTROL_PREFIX, describe

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.state import SandboxState


class SettingsChange(BaseModel):
    """How jobs run from now on; only the named parts change."""

    model_config = ConfigDict(extra="forbid")

    rows_per_second: RowsPerSecond = None
    paused_clock: bool = False
    submit_needs: SubmitNeeds = "one_row"


class Rows(BaseModel):
    """A number of rows."""

    model_config = ConfigDict(extra="forbid")

    rows: Annotated[int, Field(strict=True, ge=0)]


class SomeRows(Rows):
    """A number of rows that is not 0."""

    rows: Annotated[int, Field(strict=True, ge=1)]


def bulk_control_router(state: SandboxState) -> APIRouter:
    """Build the controls under ``/_sandbox/bulk``."""
    router = APIRouter(prefix=f"{CONTROL_PREFIX}/bulk")
    _add_time_controls(router, state)
    _add_job_controls(router, state)
    return router


def _add_time_controls(router: APIRouter, state: SandboxState) -> None:
    @router.post("")
    async def change_settings(change: SettingsChange) -> Response:
        state.bulk.change(**change.model_dump(exclude_unset=True))
        return describe(state)

    @router.post("/advance")
    async def advance(rows: Rows) -> Response:
        return AsciiJsonResponse({"rows": state.bulk.advance(rows.rows)})

    @router.get("/submits")
    async def count_submits() -> Response:
        return AsciiJsonResponse(state.bulk.submits)


def _add_job_controls(router: APIRouter, state: SandboxState) -> None:
    @router.get("/jobs")
    async def list_jobs() -> Response:
        return AsciiJsonResponse([asdict(job) for job in state.bulk.copies()])

    @router.post("/jobs")
    async def make_up_job(size: SomeRows) -> Response:
        return AsciiJsonResponse({"job_id": state.bulk.make_up(size.rows)})

    @router.get("/jobs/{job_id}/charges")
    async def count_charges(job_id: str) -> Response:
        return AsciiJsonResponse(state.bulk.charges(job_id))

    @router.post("/jobs/{job_id}/fail")
    async def fail_job(job_id: str) -> Response:
        return AsciiJsonResponse(asdict(state.bulk.fail(job_id)))
