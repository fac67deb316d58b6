"""The routes under ``/bulk`` that change jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field, model_validator

from airflow_provider_leadmagic.sandbox.bodies import Body, WholeNumber, check_body, read_json
from airflow_provider_leadmagic.sandbox.errors import ApiError, AsciiJsonResponse, validation_error

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.bulk.jobs import Job
    from airflow_provider_leadmagic.sandbox.state import SandboxState


class _Review(Body):
    action: Literal["approve", "reject"]


class _Restart(Body):
    mode: Literal["full", "failed_only", "from_row"] = "full"
    start_row_index: Annotated[WholeNumber, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _says_where_from(self) -> _Restart:
        if self.mode == "from_row" and "start_row_index" not in self.model_fields_set:
            raise ValueError("mode from_row needs startRowIndex")
        return self

    def first_row(self, rows: int) -> int:
        """Find the first row to do again."""
        first = self.start_row_index if self.mode == "from_row" else 0
        if first >= rows:
            raise ApiError(validation_error(f"The job has {rows} rows only."))
        return first


def moves_router(state: SandboxState) -> APIRouter:
    """Build the routes of pause, resume, review and restart."""
    router = APIRouter(prefix="/bulk/jobs/{job_id}")
    _add_pause(router, state)
    _add_review(router, state)
    _add_restart(router, state)
    return router


def _add_pause(router: APIRouter, state: SandboxState) -> None:
    @router.post("/pause")
    async def pause(request: Request) -> Response:
        with state.bulk.locked_job(request.path_params["job_id"]) as job:
            job.pause()
            return AsciiJsonResponse({"jobId": job.job_id, "status": "paused"})

    @router.post("/resume")
    async def resume(request: Request) -> Response:
        with state.bulk.locked_job(request.path_params["job_id"]) as job:
            job.resume()
            return AsciiJsonResponse({"jobId": job.job_id, "status": "running"})


def _add_review(router: APIRouter, state: SandboxState) -> None:
    @router.post("/review")
    async def review(request: Request) -> Response:
        rejected = check_body(_Review, await read_json(request)).action == "reject"
        with state.bulk.locked_job(request.path_params["job_id"]) as job:
            if rejected:
                job.cancel(state.bulk.clock())
            else:
                job.resume()
            return AsciiJsonResponse({"jobId": job.job_id, "status": "canceled" if rejected else "running"})


def _add_restart(router: APIRouter, state: SandboxState) -> None:
    @router.post("/restart")
    async def restart(request: Request) -> Response:
        wanted = check_body(_Restart, await read_json(request) if await request.body() else {})
        with state.bulk.locked_job(request.path_params["job_id"]) as job:
            return AsciiJsonResponse(_restart(job, wanted, state))


def _restart(job: Job, wanted: _Restart, state: SandboxState) -> dict[str, object]:
    # LeadMagic's sample redoes the failed rows in the same job. What becomes of the other modes no source says.
    if wanted.mode == "failed_only":
        restarted, again = job.retry_failed(), job
    else:
        restarted, again = True, state.bulk.restart(job.job_id, wanted.first_row(len(job.submission.rows)))
    return {
        "jobId": job.job_id,
        "restarted": restarted,
        "newJobId": None if again is job else again.job_id,
        "mode": wanted.mode,
        "started": False,
        "position": state.bulk.position(again),
    }
