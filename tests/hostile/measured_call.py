"""
Make one call in a process of its own, and tell how it ended and how much memory it took at most.

Run as ``python -m tests.hostile.measured_call URL CALL``; writes JSON.
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

#: Seconds: enough for what ends by its size, and a bound for what would never end.
TIMEOUT = 5.0


def call(client: LeadMagicClient, name: str) -> str:
    try:
        if name == "balance":
            return str(client.get_credits().credits)
        with Path("/dev/null").open("wb") as nowhere:
            return str(client.bulk.download("j1", nowhere))
    except LeadMagicError as error:
        return f"{type(error).__name__}: {error}"


def measure(url: str, name: str) -> dict[str, Any]:
    with LeadMagicClient("k", url, timeout=TIMEOUT, max_attempts=1) as client:
        before, started = peak_memory(), time.monotonic()
        outcome = call(client, name)
        return {"outcome": outcome, "seconds": time.monotonic() - started, "memory": peak_memory() - before}


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
