"""
The routes under ``/v1/analytics``: free reports of the requests and the credits spent in this sandbox.

Latencies are always 0. They are not measured, because the speed of this machine has nothing to do with LeadMagic's.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from airflow_provider_leadmagic.sandbox.errors import (
    REQUESTS_PER_MINUTE,
    ApiError,
    AsciiJsonResponse,
    to_timestamp,
    validation_error,
)
from airflow_provider_leadmagic.sandbox.rate_limits import DAY, MINUTE, REQUESTS_PER_DAY
from airflow_provider_leadmagic.sandbox.usage import Usage, Window, ratio, read_usage, utc_day

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow_provider_leadmagic.sandbox.state import SandboxState

Report = dict[str, object]

WINDOWS = {str(days): days for days in range(1, 91)}
# In LeadMagic's samples, the totals of this_month are those of a window of 30 days.
DASHBOARD_WINDOWS = {"today": 1, "this_week": 7, "this_month": 30}


def analytics_router(state: SandboxState) -> APIRouter:
    """Build the routes under ``/v1/analytics``."""
    router = APIRouter(prefix="/v1/analytics")
    for name, report in WINDOW_REPORTS.items():
        router.add_api_route(f"/{name}", _window_endpoint(report, state))

    @router.get("/dashboard")
    async def read_dashboard() -> Response:
        return _respond(report_dashboard(state, _usage(state)), state)

    @router.get("/summary")
    async def read_summary(request: Request) -> Response:
        first = _read_date("start_date", request.query_params.get("start_date", str(date.min)))
        last = _read_date("end_date", request.query_params.get("end_date", str(date.max)))
        return _respond(report_summary(_usage(state).between(first, last)), state)

    @router.get("/day/{date}")
    async def read_day(request: Request) -> Response:
        day = _read_date("date", request.path_params["date"])
        return _respond(report_day(_usage(state).between(day, day), day), state)

    return router


def _window_endpoint(
    report: Callable[[Window], Report], state: SandboxState
) -> Callable[[Request], Awaitable[Response]]:
    async def read_window(request: Request) -> Response:
        days = _read_days(request.query_params.get("days", "30"))
        return _respond(report(Window.of(_usage(state), days, utc_day(time.time()))), state)

    return read_window


def _usage(state: SandboxState) -> Usage:
    return read_usage(state.account.charges, state.requests.entries())


def _respond(report: Report, state: SandboxState) -> Response:
    return AsciiJsonResponse({"data": report} if state.wrap_analytics else report)


def _read_days(text: str) -> int:
    if text not in WINDOWS:
        raise ApiError(validation_error("days must be a whole number from 1 to 90.", "days"))
    return WINDOWS[text]


def _read_date(name: str, text: str) -> date:
    with suppress(ValueError):
        day = date.fromisoformat(text)
        # fromisoformat() also accepts week dates and dates without hyphens.
        if str(day) == text:
            return day
    raise ApiError(validation_error(f"{name} must be a date in the format YYYY-MM-DD.", name))


def report_dashboard(state: SandboxState, usage: Usage) -> Report:
    """Build the dashboard: balance, rate limits and recent usage."""
    now = int(time.time())
    balance = state.account.credits
    today = utc_day(now)
    return {
        "user": {"id": "user_sandbox", "email": "sandbox@example.com"},
        "credits": {"current": balance, "formatted": _dollars(balance)},
        "rate_limit": {
            "minute": _rate(REQUESTS_PER_MINUTE, state.requests.count_since(now - now % MINUTE)),
            "daily": _rate(REQUESTS_PER_DAY, state.requests.count_since(now - now % DAY)),
        },
        # Always 0: lookups are charged immediately, one after another, so none overlap and no credits are reserved.
        "concurrency": {"current": 0, "peak": 0, "active_reservations": 0},
        "stats": {name: _stats(Window.of(usage, days, today).usage) for name, days in DASHBOARD_WINDOWS.items()},
    }


def report_usage(window: Window) -> Report:
    """Build the report of requests and credits per day."""
    summary = {**_averages(window.usage), "unique_products": len(window.usage.by_product())}
    daily = [
        {"date": day, **_totals(usage), "unique_products_used": len(usage.by_product())}
        for day, usage in window.daily()
    ]
    return {"period": window.period, "summary": summary, "daily": daily}


def report_products(window: Window) -> Report:
    """Build the report of requests and credits per product."""
    products = {name: _product(usage) for name, usage in window.usage.by_product().items()}
    # LeadMagic does not document the fields of the daily list.
    return {"period": window.period, "products": products, "daily": []}


def report_credits(window: Window) -> Report:
    """Build the report of credits spent per day."""
    daily = [{"date": day, **_totals(usage)} for day, usage in window.daily()]
    return {"period": window.period, "summary": _averages(window.usage), "daily": daily}


def report_daily(window: Window) -> Report:
    """Build the report of request volume and errors per day."""
    return {"period": window.period, "data": [{"date": day, **_quality(usage)} for day, usage in window.daily()]}


WINDOW_REPORTS = {
    "usage": report_usage,
    "products": report_products,
    "credits": report_credits,
    "daily": report_daily,
}


def report_summary(usage: Usage) -> Report:
    """Build the report of totals."""
    moments = [line.at for line in usage.lines]
    return {
        "total_api_requests": usage.requests,
        "total_credits_consumed": usage.credits,
        "unique_products_used": len(usage.by_product()),
        "successful_requests": usage.requests - usage.failed,
        "failed_requests": usage.failed,
        "success_rate": ratio(100 * (usage.requests - usage.failed), usage.requests),
        "avg_response_time_ms": 0,
        "first_request": to_timestamp(min(moments)) if moments else None,
        "last_request": to_timestamp(max(moments)) if moments else None,
    }


def report_day(usage: Usage, day: date) -> Report:
    """Build the report of one day, per product."""
    parts = usage.by_product()
    summary = {"total_credits": usage.credits, "total_requests": usage.requests, "products_count": len(parts)}
    products = [{"product_id": name, **_share(part, usage)} for name, part in parts.items()]
    return {"date": str(day), "summary": summary, "products": products}


def _dollars(credits: Decimal) -> str:
    with localcontext(rounding=ROUND_HALF_UP):
        return f"${credits / 100:.2f}"


def _rate(limit: int, used: int) -> Report:
    return {"limit": limit, "used": used, "remaining": max(0, limit - used), "utilization": ratio(100 * used, limit)}


def _stats(usage: Usage) -> Report:
    return {
        "requests": usage.requests,
        "credits": usage.credits,
        "chargeable_requests": usage.chargeable,
        "chargeable_rate": ratio(100 * usage.chargeable, usage.requests),
        "unique_products": len(usage.by_product()),
    }


def _totals(usage: Usage) -> Report:
    return {
        "total_requests": usage.requests,
        "chargeable_requests": usage.chargeable,
        "total_credits": usage.credits,
    }


def _averages(usage: Usage) -> Report:
    return {
        **_totals(usage),
        "avg_credits_per_request": ratio(usage.credits, usage.requests),
        "chargeable_rate": ratio(100 * usage.chargeable, usage.requests),
    }


def _product(usage: Usage) -> Report:
    # In this report only, LeadMagic counts a miss as failed: a product's success rate "means data was found".
    return {
        "total_requests": usage.requests,
        "total_credits": usage.credits,
        "successful_requests": usage.chargeable,
        "failed_requests": usage.requests - usage.chargeable,
        "success_rate": ratio(100 * usage.chargeable, usage.requests),
        "avg_credits_per_request": ratio(usage.credits, usage.requests),
    }


def _quality(usage: Usage) -> Report:
    return {
        "total_requests": usage.requests,
        "successful_requests": usage.requests - usage.failed,
        "failed_requests": usage.failed,
        "total_credits": usage.credits,
        "p50_latency_ms": 0,
        "p95_latency_ms": 0,
        "p99_latency_ms": 0,
        "error_rate": ratio(100 * usage.failed, usage.requests),
    }


def _share(part: Usage, whole: Usage) -> Report:
    return {
        "requests": part.requests,
        "credits": part.credits,
        "credits_percentage": ratio(100 * part.credits, whole.credits),
        "avg_credits_per_request": ratio(part.credits, part.requests),
        "max_credits": max(line.credits for line in part.lines),
    }
