"""A LeadMagic account for each DAG, and when its gates looked at it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from benchmarks.plan import ENOUGH, TOO_FEW
from dev.local_airflow import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable


class BenchmarkAccount(Sandbox):
    """An account with too few credits."""

    def __init__(self) -> None:
        super().__init__(credits=TOO_FEW)

    def connection_for(self, contender: str) -> str:
        """Point a connection here, as the contender wants it: those of others are HTTP connections."""
        if contender.startswith("ours"):
            return self.connection_json
        return json.dumps({"conn_type": "http", "host": self.url, "extra": {"X-API-Key": self.api_key}})

    @property
    def looks(self) -> list[float]:
        """Unix times of all looks."""
        return [request.at for request in self.requests]

    def looks_within(self, begin: float, end: float) -> int:
        """Count the looks after one moment, up to another."""
        return sum(begin < at <= end for at in self.looks)

    def next_look(self, after: float, patience: float, check: Callable[[], object] = lambda: None) -> float:
        """Wait for a look that comes after a moment, and tell when it came."""
        wait_until(lambda: any(at > after for at in self.looks), patience, f"a look at {self.url}", check)
        return min(at for at in self.looks if at > after)

    def top_up_half_an_interval_after(self, look: float, interval: float) -> float:
        """Top up at the moment that neither flatters nor harms who looks once in an interval, and tell when it was."""
        time.sleep(max(look + interval / 2 - time.time(), 0.0))
        self.add_credits(ENOUGH)
        return time.time()
