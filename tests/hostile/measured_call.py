"""
Make one call in a separate process and measure its time and peak memory.

Run as ``python -m tests.hostile.measured_call URL CALL``; prints JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.exceptions import LeadMagicError
from tests.support.memory import peak_memory

#: Timeout in seconds: long enough to reach the size limits, and an upper limit for endless responses.
TIMEOUT = 5.0


def call(client: LeadMagicClient, name: str) -> str:
    try:
        if name == "balance":
            return str(client.get_credits().credits)
        with Path("/dev/null").open("wb") as file:
            return str(client.bulk.download("j1", file))
    except LeadMagicError as error:
        return f"{type(error).__name__}: {error}"


def clock() -> float:
    """Return a time in seconds that stops while other processes occupy the processors, as they do in parallel tests."""
    nanoseconds_of_waiting = Path("/proc/self/schedstat").read_text(encoding="ascii").split()[1]
    return time.monotonic() - int(nanoseconds_of_waiting) / 1e9


def measure(url: str, name: str) -> dict[str, Any]:
    with LeadMagicClient("k", url, timeout=TIMEOUT, max_attempts=1) as client:
        before, started = peak_memory(), clock()
        outcome = call(client, name)
        return {"outcome": outcome, "seconds": clock() - started, "memory": peak_memory() - before}


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
