"""Measure the lag of an event loop: how long its other tasks are delayed by one that does not yield."""

from __future__ import annotations

import asyncio
import statistics
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: Seconds between two probes. The load test allows a lag that is ten times as long.
PROBE_INTERVAL = 0.01


@dataclass
class LoopLag:
    """
    Delays of the probes.

    :param samples: For each probe, how many seconds it woke up after it was due.
    """

    samples: list[float] = field(default_factory=list)

    def report(self) -> dict[str, float]:
        """
        Return statistics in milliseconds.

        During a stall, one probe is late, and others do not start. They are added here: a stall of 150 ms counts as
        delays of 150, 140, 130 ms, and so on.
        """
        delays = [
            late - missed * PROBE_INTERVAL for late in self.samples for missed in range(1 + int(late / PROBE_INTERVAL))
        ]
        return {"p99_ms": statistics.quantiles(delays, n=100)[98] * 1000, "longest_ms": max(delays) * 1000}


@asynccontextmanager
async def measure_loop_lag() -> AsyncIterator[LoopLag]:
    """Probe the running loop inside the ``async with`` block."""
    lag = LoopLag()
    probe = asyncio.create_task(_probe(lag))
    try:
        yield lag
    finally:
        probe.cancel()
        with suppress(asyncio.CancelledError):
            await probe


async def _probe(lag: LoopLag) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + PROBE_INTERVAL
        await asyncio.sleep(PROBE_INTERVAL)
        lag.samples.append(max(loop.time() - due, 0.0))
