"""The routes under ``/bulk`` that order and read jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from airflow_provider_leadmagic.sandbox.bodies import UNBOUNDED, read_json, read_whole_number
from airflow_provider_leadmagic.sandbox.bulk import reports
from airflow_provider_leadmagic.sandbox.bulk.jobs import RowStatus
from airflow_provider_leadmagic.sandbox.bulk.submission import read_submission
from airflow_provider_leadmagic.sandbox.errors import ApiError, AsciiJsonResponse, missing_required_field

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.bulk.jobs import Job
    from airflow_provider_leadmagic.sandbox.state import SandboxState


def bulk_router(state: SandboxState) -> APIRouter:
    """Build the routes that order and read jobs."""
    router = APIRouter(prefix="/bulk")
    _add_orders(router, state)
    _add_lists(router, state)
    _add_reads(router, state)
    _add_rows(router, state)
    return router


def _add_orders(router: APIRouter, state: SandboxState) -> None:
    @router.post("/validate")
    async def validate(request: Request) -> Response:
        submission = read_submission(await read_json(request))
        # The body is documented nowhere.
        counted = {"totalRows": len(submission.rows), "maxCredits": submission.ceiling}
        return AsciiJsonResponse({"valid": True, "product": submission.product_name, **counted})

    @router.post("/submit")
    async def submit(request: Request) -> Response:
        job = state.bulk.submit(read_submission(await read_json(request)))
        answer = reports.report_submission(job, state.bulk.position(job), _base_url(request))
        return AsciiJsonResponse(answer, status_code=202)


def _add_lists(router: APIRouter, state: SandboxState) -> None:
    @router.get("/jobs")
    async def list_jobs(request: Request) -> Response:
        limit = read_whole_number(request, "limit", 50, range(1, 201))
        offset = read_whole_number(request, "offset", 0, range(10_001))
        with state.bulk.locked_jobs() as jobs:
            kept = [job for job in reversed(jobs) if _is_wanted(job, request)]
            page = [reports.report_summary(job) for job in kept[offset : offset + limit]]
        return AsciiJsonResponse({"jobs": page, "limit": limit, "offset": offset})


def _add_reads(router: APIRouter, state: SandboxState) -> None:
    @router.get("/jobs/{job_id}")
    async def read_job(request: Request) -> Response:
        with state.bulk.locked_job(request.path_params["job_id"]) as job:
            return AsciiJsonResponse(reports.report_job(job, _base_url(request)))

    @router.get("/progress")
    async def read_progress(request: Request) -> Response:
        if "jobId" not in request.query_params:
            raise ApiError(missing_required_field(("jobId",)))
        with state.bulk.locked_job(request.query_params["jobId"]) as job:
            return AsciiJsonResponse(reports.report_progress(job))

    # What the progressUrl of LeadMagic's samples points to.
    @router.get("/jobs/{job_id}/progress")
    async def follow_progress_link(request: Request) -> Response:
        with state.bulk.locked_job(request.path_params["job_id"]) as job:
            return AsciiJsonResponse(reports.report_progress(job))


def _add_rows(router: APIRouter, state: SandboxState) -> None:
    @router.get("/jobs/{job_id}/results")
    async def read_results(request: Request) -> Response:
        with state.bulk.locked_job(request.path_params["job_id"]) as job:
            return _page(job, request, request.query_params.get("status"), UNBOUNDED)

    @router.get("/jobs/{job_id}/errors")
    async def read_errors(request: Request) -> Response:
        status = request.query_params.get("status", RowStatus.FAILED)
        with state.bulk.locked_job(request.path_params["job_id"]) as job:
            # Only failed rows are here: whoever asks for others gets none.
            return _page(job, request, status if status == RowStatus.FAILED else "", 1_000_000)

    @router.get("/jobs/{job_id}/download")
    async def read_download(request: Request) -> Response:
        with state.bulk.locked_job(request.path_params["job_id"]) as job:
            return StreamingResponse(reports.download(job), media_type="text/csv")


def _page(job: Job, request: Request, status: str | None, last_offset: int) -> Response:
    limit = read_whole_number(request, "limit", 200, range(1, 1001))
    offset = read_whole_number(request, "offset", 0, range(last_offset + 1))
    rows = [reports.report_row(job, row) for row in job.done(status)[offset : offset + limit]]
    return AsciiJsonResponse({"rows": rows, "limit": limit, "offset": offset})


def _is_wanted(job: Job, request: Request) -> bool:
    status, product = (request.query_params.get(name) for name in ("status", "product"))
    return status in (None, job.status) and product in (None, job.submission.product_name)


def _base_url(request: Request) -> str:
    return str(request.base_url).rstrip("/")
