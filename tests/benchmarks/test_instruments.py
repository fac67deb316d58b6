"""The measuring instruments of the benchmark: event-loop lag and occupied worker slots."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import pytest

from benchmarks.slots import IDLE, TITLE, Occupation, SlotLog
from benchmarks.triggerer.loop_lag import LoopLag, measure_loop_lag


def test_a_stall_counts_for_every_probe_that_was_due_during_it() -> None:
    # A stall of 100 ms counts as 11 probes with lags of 100, 90, ... 0 ms. Of 901 probes, nine are the top percent.
    lag = LoopLag([0.0] * 890 + [0.1])

    assert lag.report() == {"p99_ms": pytest.approx(20, abs=2), "longest_ms": pytest.approx(100)}
    assert LoopLag([0.0] * 9000 + [0.1]).report()["p99_ms"] == 0


def test_a_blocked_event_loop_is_reported_as_lagging() -> None:
    async def block() -> LoopLag:
        async with measure_loop_lag() as lag:
            await asyncio.sleep(0.05)
            time.sleep(0.2)
            await asyncio.sleep(0.05)
        return lag

    assert asyncio.run(block()).report()["longest_ms"] >= 150


@pytest.mark.parametrize(("start", "end", "seconds"), [(0, 10, 4), (3, 4, 1), (0, 4, 2), (5, 9, 1), (7, 9, 0)], ids=str)
def test_an_occupation_counts_only_within_the_period(start: float, end: float, seconds: float) -> None:
    assert Occupation(uuid4(), 2.0, 6.0).seconds_within(start, end) == seconds


def test_occupied_seconds_are_derived_from_the_titles_of_a_slot() -> None:
    log, first, second = SlotLog(), uuid4(), uuid4()
    for now, work in enumerate([IDLE, first, first, second, IDLE]):
        log.record(1, f"{TITLE}{work}", float(now))

    assert (log.seconds([first], 0.0, 10.0), log.seconds([second], 0.0, 10.0)) == (2, 1)
    assert log.seconds([first, second], 0.0, 10.0) == 3
    assert log.is_free_of([first, second])


def test_an_ongoing_occupation_counts_up_to_the_end_of_the_period() -> None:
    log, task = SlotLog(), uuid4()
    log.record(1, f"{TITLE}{task}", 4.0)

    assert log.seconds([task], 0.0, 10.0) == 6
    assert not log.is_free_of([task])
