"""The dashboard: what the account has, may do and did lately."""

from __future__ import annotations

import time
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import TYPE_CHECKING

from airflow_provider_leadmagic.sandbox.errors import REQUESTS_PER_MINUTE
from airflow_provider_leadmagic.sandbox.rate_limits import DAY, MINUTE, REQUESTS_PER_DAY
from airflow_provider_leadmagic.sandbox.usage import Usage, Window, ratio, utc_day
from airflow_provider_leadmagic.sandbox.usage_reports import Report, report_stats

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.state import SandboxState

# In LeadMagic's samples, this month has the totals of a window of 30 days.
STATS = {"today": 1, "this_week": 7, "this_month": 30}


def report_dashboard(state: SandboxState, usage: Usage) -> Report:
    """Describe the account."""
    now = int(time.time())
    balance = state.account.credits
    return {
        "user": {"id": "user_sandbox", "email": "sandbox@example.com"},
        "credits": {"current": balance, "formatted": _dollars(balance)},
        "rate_limit": {
            "minute": _rate(REQUESTS_PER_MINUTE, state.requests.count_since(now - now % MINUTE)),
            "daily": _rate(REQUESTS_PER_DAY, state.requests.count_since(now - now % DAY)),
        },
        # Lookups are settled one by one, at once: none overlap, and no credits are held.
        "concurrency": {"current": 0, "peak": 0, "active_reservations": 0},
        "stats": {name: report_stats(Window.of(usage, days, utc_day(now)).usage) for name, days in STATS.items()},
    }


def _dollars(credits: Decimal) -> str:
    with localcontext(rounding=ROUND_HALF_UP):
        return f"${credits / 100:.2f}"


def _rate(limit: int, used: int) -> Report:
    return {"limit": limit, "used": used, "remaining": max(0, limit - used), "utilization": ratio(100 * used, limit)}
