"""
The bodies of the analytics.

Latencies are 0, which means not measured: how fast this machine is would say nothing about LeadMagic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_leadmagic.sandbox.errors import to_timestamp
from airflow_provider_leadmagic.sandbox.usage import ratio

if TYPE_CHECKING:
    from datetime import date

    from airflow_provider_leadmagic.sandbox.usage import Usage, Window

Report = dict[str, object]


def report_usage(window: Window) -> Report:
    """Describe requests and credits, day by day."""
    summary = {**_averages(window.usage), "unique_products": len(window.usage.by_product())}
    daily = [
        {"date": day, **_totals(usage), "unique_products_used": len(usage.by_product())}
        for day, usage in window.daily()
    ]
    return {"period": window.period, "summary": summary, "daily": daily}


def report_products(window: Window) -> Report:
    """Describe requests and credits, product by product."""
    products = {name: _product(usage) for name, usage in window.usage.by_product().items()}
    # What the rows of its daily list hold is documented nowhere.
    return {"period": window.period, "products": products, "daily": []}


def report_credits(window: Window) -> Report:
    """Describe what was spent, day by day."""
    daily = [{"date": day, **_totals(usage)} for day, usage in window.daily()]
    return {"period": window.period, "summary": _averages(window.usage), "daily": daily}


def report_daily(window: Window) -> Report:
    """Describe volume and errors, day by day."""
    return {"period": window.period, "data": [{"date": day, **_quality(usage)} for day, usage in window.daily()]}


def report_summary(usage: Usage) -> Report:
    """Describe the totals."""
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
    """Describe one day, product by product."""
    parts = usage.by_product()
    summary = {"total_credits": usage.credits, "total_requests": usage.requests, "products_count": len(parts)}
    products = [{"product_id": name, **_share(part, usage)} for name, part in parts.items()]
    return {"date": str(day), "summary": summary, "products": products}


def report_stats(usage: Usage) -> Report:
    """Describe a part of the dashboard."""
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
    # Of a product, and only here, LeadMagic counts a miss as failed: its success rate "means data was found".
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
