"""A LeadMagic account for each DAG, which records when its sensors poll it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from benchmarks.plan import BALANCE_BEFORE, TOP_UP
from dev.local_airflow import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable


class BenchmarkAccount(Sandbox):
    """An account whose balance is insufficient until it is topped up."""

    def __init__(self) -> None:
        super().__init__(credits=BALANCE_BEFORE)

    def connection_for(self, candidate: str) -> str:
        """Return a connection to this account of the type that the candidate needs: LeadMagic or HTTP."""
        if candidate.startswith("leadmagic"):
            return self.connection_json
        return json.dumps({"conn_type": "http", "host": self.url, "extra": {"X-API-Key": self.api_key}})

    @property
    def polls(self) -> list[float]:
        """Unix times of all polls."""
        return [request.at for request in self.requests]

    def polls_within(self, start: float, end: float) -> int:
        """Count the polls after ``start``, up to and including ``end``."""
        return sum(start < at <= end for at in self.polls)

    def next_poll(self, after: float, timeout: float, check: Callable[[], object] = lambda: None) -> float:
        """Wait for the first poll after a Unix time, and return its time."""
        wait_until(lambda: any(at > after for at in self.polls), timeout, f"a poll of {self.url}", check)
        return min(at for at in self.polls if at > after)

    def top_up_half_an_interval_after(self, poll: float, interval: float) -> float:
        """Top up midway between two polls, which favors no candidate, and return the Unix time of the top-up."""
        time.sleep(max(poll + interval / 2 - time.time(), 0.0))
        self.add_credits(TOP_UP)
        return time.time()
