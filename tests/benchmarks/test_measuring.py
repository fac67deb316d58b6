"""The instruments of the benchmark."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import pytest

from benchmarks.slots import IDLE, TITLE, SlotLog, Visit
from benchmarks.triggerer.loop_lag import LoopLag, probed_lag


def test_a_stall_counts_for_everybody_who_would_have_met_it() -> None:
    # As if the probes due 0, 10, ... and 100 ms into the stall had been made: of 901 the nine latest are the hundredth.
    lag = LoopLag([0.0] * 890 + [0.1])

    assert lag.report() == {"p99_ms": pytest.approx(20, abs=2), "longest_ms": pytest.approx(100)}
    assert LoopLag([0.0] * 9000 + [0.1]).report()["p99_ms"] == 0


def test_a_loop_that_is_blocked_is_seen_to_be_late() -> None:
    async def block() -> LoopLag:
        async with probed_lag() as lag:
            await asyncio.sleep(0.05)
            time.sleep(0.2)
            await asyncio.sleep(0.05)
        return lag

    assert asyncio.run(block()).report()["longest_ms"] >= 150


@pytest.mark.parametrize(("begin", "end", "seconds"), [(0, 10, 4), (3, 4, 1), (0, 4, 2), (5, 9, 1), (7, 9, 0)], ids=str)
def test_a_visit_counts_as_far_as_it_lies_in_the_period(begin: float, end: float, seconds: float) -> None:
    assert Visit(uuid4(), 2.0, 6.0).seconds_within(begin, end) == seconds


def test_visits_follow_from_the_titles_of_a_slot() -> None:
    log, first, second = SlotLog(), uuid4(), uuid4()
    for now, work in enumerate([IDLE, first, first, second, IDLE]):
        log.note(1, f"{TITLE}{work}", float(now))

    assert (log.seconds([first], 0.0, 10.0), log.seconds([second], 0.0, 10.0)) == (2, 1)
    assert log.seconds([first, second], 0.0, 10.0) == 3
    assert log.is_free_of([first, second])


def test_a_visit_that_has_not_ended_counts_up_to_the_end_of_the_period() -> None:
    log, task = SlotLog(), uuid4()
    log.note(1, f"{TITLE}{task}", 4.0)

    assert log.seconds([task], 0.0, 10.0) == 6
    assert not log.is_free_of([task])
