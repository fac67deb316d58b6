"""The analytics endpoints: free, and made of what was really requested and spent."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from airflow_provider_leadmagic.sandbox import usage_reports
from airflow_provider_leadmagic.sandbox.dashboard import report_dashboard
from airflow_provider_leadmagic.sandbox.errors import ApiError, AsciiJsonResponse, validation_error
from airflow_provider_leadmagic.sandbox.usage import Usage, Window, read_usage, utc_day

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow_provider_leadmagic.sandbox.state import SandboxState

WINDOWS = {str(days): days for days in range(1, 91)}
WINDOW_REPORTS = {
    "usage": usage_reports.report_usage,
    "products": usage_reports.report_products,
    "credits": usage_reports.report_credits,
    "daily": usage_reports.report_daily,
}


def analytics_router(state: SandboxState) -> APIRouter:
    """Build the routes under ``/v1/analytics``."""
    router = APIRouter(prefix="/v1/analytics")
    for name, report in WINDOW_REPORTS.items():
        router.add_api_route(f"/{name}", _over_a_window(report, state))

    @router.get("/dashboard")
    async def read_dashboard() -> Response:
        return _answer(report_dashboard(state, _usage(state)), state)

    @router.get("/summary")
    async def read_summary(request: Request) -> Response:
        first = _date("start_date", request.query_params.get("start_date", str(date.min)))
        last = _date("end_date", request.query_params.get("end_date", str(date.max)))
        return _answer(usage_reports.report_summary(_usage(state).between(first, last)), state)

    @router.get("/day/{date}")
    async def read_day(request: Request) -> Response:
        day = _date("date", request.path_params["date"])
        return _answer(usage_reports.report_day(_usage(state).between(day, day), day), state)

    return router


def _over_a_window(
    report: Callable[[Window], usage_reports.Report], state: SandboxState
) -> Callable[[Request], Awaitable[Response]]:
    async def read_window(request: Request) -> Response:
        days = _days(request.query_params.get("days", "30"))
        return _answer(report(Window.of(_usage(state), days, utc_day(time.time()))), state)

    return read_window


def _usage(state: SandboxState) -> Usage:
    return read_usage(state.account.charges, state.requests.entries())


def _answer(report: usage_reports.Report, state: SandboxState) -> Response:
    return AsciiJsonResponse({"data": report} if state.wrap_analytics else report)


def _days(text: str) -> int:
    if text not in WINDOWS:
        raise ApiError(validation_error("days must be a whole number from 1 to 90.", "days"))
    return WINDOWS[text]


def _date(name: str, text: str) -> date:
    with suppress(ValueError):
        day = date.fromisoformat(text)
        # It reads weeks, and dates without dashes, as well.
        if str(day) == text:
            return day
    raise ApiError(validation_error(f"{name} must be a date like 2026-01-31.", name))
