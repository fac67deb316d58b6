"""The routes of bulk jobs: cost preview, submit, reads and changes."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field, model_validator
from starlette.responses import StreamingResponse

from airflow_provider_leadmagic.sandbox.bulk import responses as reports
from airflow_provider_leadmagic.sandbox.bulk.jobs import RowStatus
from airflow_provider_leadmagic.sandbox.bulk.submit_request import find_product, read_submission
from airflow_provider_leadmagic.sandbox.errors import (
    ApiError,
    AsciiJsonResponse,
    missing_required_field,
    validation_error,
)
from airflow_provider_leadmagic.sandbox.request_bodies import (
    UNBOUNDED,
    Body,
    WholeNumber,
    check_body,
    read_json,
    read_whole_number,
)

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.bulk.jobs import Job
    from airflow_provider_leadmagic.sandbox.state import SandboxState

USD_PER_CREDIT = Decimal("0.01")


def bulk_router(state: SandboxState) -> APIRouter:
    """Build the route of the cost preview and the routes under ``/bulk``."""
    router = APIRouter()
    _add_preview(router)
    _add_submit(router, state)
    _add_job_reads(router, state)
    _add_row_reads(router, state)
    _add_pause_and_review(router, state)
    _add_restart(router, state)
    return router


class _Item(Body):
    product: str = ""
    input: dict[str, Any] = Field(default_factory=dict)


class _PreviewBody(Body):
    items: Annotated[list[_Item], Field(min_length=1, max_length=10_000)]


def _add_preview(router: APIRouter) -> None:
    @router.post("/v1/batch/preview-cost")
    async def preview_cost(request: Request) -> Response:
        body = check_body(_PreviewBody, await read_json(request))
        return AsciiJsonResponse(_preview(_count_products([item.product for item in body.items])))


def _count_products(products: list[str]) -> Counter[str]:
    named = {product for product in products if product}
    # LeadMagic requires a product on each item "when products are mixed". If only one is named, it applies to all.
    if not named or (len(named) > 1 and "" in products):
        raise ApiError(missing_required_field(("product",)))
    return Counter(product or min(named) for product in products)


def _preview(items: Counter[str]) -> dict[str, object]:
    per_product = [_price(name, count) for name, count in items.items()]
    total = sum((price["credits"] for price in per_product), Decimal(0))
    return {
        "totalItems": items.total(),
        "creditsPerItem": per_product[0]["creditsPerItem"] if len(per_product) == 1 else None,
        "totalCredits": total,
        "estimatedCostUsd": total * USD_PER_CREDIT,
        "perProduct": per_product,
        # The sandbox has neither the limit per client nor the budget that these fields describe.
        "clientCreditRemaining": None,
        "willExceedBudget": False,
    }


def _price(name: str, count: int) -> dict[str, Any]:
    price = find_product(name).price
    return {"product": name, "items": count, "creditsPerItem": price, "credits": price * count}


def _add_submit(router: APIRouter, state: SandboxState) -> None:
    @router.post("/bulk/validate")
    async def validate(request: Request) -> Response:
        submission = read_submission(await read_json(request))
        # LeadMagic does not document the fields of this response.
        counted = {"totalRows": len(submission.rows), "maxCredits": submission.ceiling}
        return AsciiJsonResponse({"valid": True, "product": submission.product_name, **counted})

    @router.post("/bulk/submit")
    async def submit(request: Request) -> Response:
        job = state.bulk.submit(read_submission(await read_json(request)))
        report = reports.report_submission(job, state.bulk.position(job), _base_url(request))
        return AsciiJsonResponse(report, status_code=202)


def _add_job_reads(router: APIRouter, state: SandboxState) -> None:
    @router.get("/bulk/jobs")
    async def list_jobs(request: Request) -> Response:
        limit = read_whole_number(request, "limit", 50, range(1, 201))
        offset = read_whole_number(request, "offset", 0, range(10_001))
        with state.bulk.locked_jobs() as jobs:
            selected = [job for job in reversed(jobs) if _is_selected(job, request)]
            page = [reports.report_summary(job) for job in selected[offset : offset + limit]]
        return AsciiJsonResponse({"jobs": page, "limit": limit, "offset": offset})

    @router.get("/bulk/jobs/{job_id}")
    async def read_job(job_id: str, request: Request) -> Response:
        with state.bulk.locked_job(job_id) as job:
            return AsciiJsonResponse(reports.report_job(job, _base_url(request)))

    @router.get("/bulk/progress")
    async def read_progress(request: Request) -> Response:
        if "jobId" not in request.query_params:
            raise ApiError(missing_required_field(("jobId",)))
        return _progress(request.query_params["jobId"], state)

    # The progressUrl in LeadMagic's samples points here.
    @router.get("/bulk/jobs/{job_id}/progress")
    async def read_progress_of_job(job_id: str) -> Response:
        return _progress(job_id, state)


def _is_selected(job: Job, request: Request) -> bool:
    status, product = (request.query_params.get(name) for name in ("status", "product"))
    return status in (None, job.status) and product in (None, job.submission.product_name)


def _progress(job_id: str, state: SandboxState) -> Response:
    with state.bulk.locked_job(job_id) as job:
        return AsciiJsonResponse(reports.report_progress(job))


def _base_url(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _add_row_reads(router: APIRouter, state: SandboxState) -> None:
    @router.get("/bulk/jobs/{job_id}/results")
    async def read_results(job_id: str, request: Request) -> Response:
        with state.bulk.locked_job(job_id) as job:
            return _page(job, request, request.query_params.get("status"), UNBOUNDED)

    @router.get("/bulk/jobs/{job_id}/errors")
    async def read_errors(job_id: str, request: Request) -> Response:
        status = request.query_params.get("status", RowStatus.FAILED)
        with state.bulk.locked_job(job_id) as job:
            # Errors are failed rows, so any other status selects no rows.
            return _page(job, request, status if status == RowStatus.FAILED else "", 1_000_000)

    @router.get("/bulk/jobs/{job_id}/download")
    async def read_download(job_id: str) -> Response:
        with state.bulk.locked_job(job_id) as job:
            return StreamingResponse(reports.download(job), media_type="text/csv")


def _page(job: Job, request: Request, status: str | None, last_offset: int) -> Response:
    limit = read_whole_number(request, "limit", 200, range(1, 1001))
    offset = read_whole_number(request, "offset", 0, range(last_offset + 1))
    rows = [reports.report_row(job, row) for row in job.done(status)[offset : offset + limit]]
    return AsciiJsonResponse({"rows": rows, "limit": limit, "offset": offset})


class _Review(Body):
    action: Literal["approve", "reject"]


def _add_pause_and_review(router: APIRouter, state: SandboxState) -> None:
    @router.post("/bulk/jobs/{job_id}/pause")
    async def pause(job_id: str) -> Response:
        with state.bulk.locked_job(job_id) as job:
            job.pause()
            return AsciiJsonResponse({"jobId": job.job_id, "status": "paused"})

    @router.post("/bulk/jobs/{job_id}/resume")
    async def resume(job_id: str) -> Response:
        with state.bulk.locked_job(job_id) as job:
            job.resume()
            return AsciiJsonResponse({"jobId": job.job_id, "status": "running"})

    @router.post("/bulk/jobs/{job_id}/review")
    async def review(job_id: str, request: Request) -> Response:
        rejected = check_body(_Review, await read_json(request)).action == "reject"
        with state.bulk.locked_job(job_id) as job:
            if rejected:
                job.cancel(state.bulk.clock())
            else:
                job.resume()
            return AsciiJsonResponse({"jobId": job.job_id, "status": "canceled" if rejected else "running"})


class _RestartBody(Body):
    mode: Literal["full", "failed_only", "from_row"] = "full"
    start_row_index: Annotated[WholeNumber, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _check_start(self) -> _RestartBody:
        if self.mode == "from_row" and "start_row_index" not in self.model_fields_set:
            raise ValueError("mode from_row requires startRowIndex")
        return self

    def first_row(self, rows: int) -> int:
        """Return the index of the first row to process again."""
        first = self.start_row_index if self.mode == "from_row" else 0
        if first >= rows:
            raise ApiError(validation_error(f"startRowIndex must be below {rows}, the number of rows; got {first}."))
        return first


def _add_restart(router: APIRouter, state: SandboxState) -> None:
    @router.post("/bulk/jobs/{job_id}/restart")
    async def restart(job_id: str, request: Request) -> Response:
        body = check_body(_RestartBody, await read_json(request) if await request.body() else {})
        with state.bulk.locked_job(job_id) as job:
            return AsciiJsonResponse(_restart(job, body, state))


def _restart(job: Job, body: _RestartBody, state: SandboxState) -> dict[str, object]:
    # In LeadMagic's sample, failed_only creates no new job. What the other modes do is not documented.
    if body.mode == "failed_only":
        is_restarted, restarted_job = job.retry_failed(), job
    else:
        first_row = body.first_row(len(job.submission.rows))
        is_restarted, restarted_job = True, state.bulk.restart(job.job_id, first_row)
    return {
        "jobId": job.job_id,
        "restarted": is_restarted,
        "newJobId": None if restarted_job is job else restarted_job.job_id,
        "mode": body.mode,
        "started": False,
        "position": state.bulk.position(restarted_job),
    }
