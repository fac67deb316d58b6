"""How late an event loop is: what everybody else in it feels of whoever works too long at a time."""

from __future__ import annotations

import asyncio
import statistics
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: Seconds from one probe to the next: ten probes within the limit of 100 ms.
PROBED_EVERY = 0.01


@dataclass
class LoopLag:
    """
    How many seconds later than asked the probes woke.

    :param samples: One number for each probe.
    """

    samples: list[float] = field(default_factory=list)

    def report(self) -> dict[str, float]:
        """Sum up in milliseconds; a stall of 150 ms counts for all the probes that should have been made in it."""
        felt = [late - missed * PROBED_EVERY for late in self.samples for missed in range(1 + int(late / PROBED_EVERY))]
        return {"p99_ms": statistics.quantiles(felt, n=100)[98] * 1000, "longest_ms": max(felt) * 1000}


@asynccontextmanager
async def probed_lag() -> AsyncIterator[LoopLag]:
    """Probe the running loop for as long as this lasts."""
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
        due = loop.time() + PROBED_EVERY
        await asyncio.sleep(PROBED_EVERY)
        lag.samples.append(max(loop.time() - due, 0.0))
