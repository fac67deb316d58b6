"""The rate limits, which are not enforced, and the response headers of single lookups, which report them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_provider_leadmagic.sandbox.errors import REQUESTS_PER_MINUTE

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.account import Receipt
    from airflow_provider_leadmagic.sandbox.request_log import RequestLog

REQUESTS_PER_DAY = 500_000
MINUTE = 60
DAY = 86_400


def metered_headers(receipt: Receipt, log: RequestLog) -> dict[str, str]:
    """Build the headers of a single lookup, a hit or a miss: its cost and the remaining rate limits."""
    return {
        "X-Credits-Cost": str(receipt.price),
        "X-Credits-Max-Cost": str(receipt.price),
        "X-Credits-Consumed": str(receipt.consumed),
        "X-Credits-Total": f"{receipt.before:.2f}",
        **_minute_headers(log),
        **_daily_headers(log),
        # Soft mode: requests over the limit are still served.
        "X-RateLimit-Soft-Mode": "true",
    }


def _minute_headers(log: RequestLog) -> dict[str, str]:
    now = int(time.time())
    reset = now - now % MINUTE + MINUTE
    used = log.count_since(reset - MINUTE)
    limit, remaining = str(REQUESTS_PER_MINUTE), str(max(0, REQUESTS_PER_MINUTE - used))
    return {
        "RateLimit-Limit": limit,
        "RateLimit-Remaining": remaining,
        "RateLimit-Reset": str(reset - now),
        "X-RateLimit-Limit": limit,
        "X-RateLimit-Remaining": remaining,
        "X-RateLimit-Reset": str(reset),
        "X-RateLimit-RPM-Usage-Percent": str(100 * used // REQUESTS_PER_MINUTE),
    }


def _daily_headers(log: RequestLog) -> dict[str, str]:
    now = int(time.time())
    reset = now - now % DAY + DAY
    used = log.count_since(reset - DAY)
    return {
        "X-RateLimit-Limit-Daily": str(REQUESTS_PER_DAY),
        "X-RateLimit-Remaining-Daily": str(max(0, REQUESTS_PER_DAY - used)),
        "X-RateLimit-Reset-Daily": str(reset),
        "X-RateLimit-Daily-Usage-Percent": str(100 * used // REQUESTS_PER_DAY),
    }
