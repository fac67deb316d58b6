"""A thousand sensors in one triggerer of Airflow 3.3 share one poll, and all succeed."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import pytest

from airflow_provider_leadmagic.triggers.credits import SufficientCreditsTrigger
from tests.support.trigger_runner import triggerer_with, with_shared_streams
from tests.support.waiting import until

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

pytestmark = [pytest.mark.e2e, with_shared_streams]

SENSORS = 1000
INTERVAL = float(os.environ.get("LEADMAGIC_TEST_INTERVAL", "2"))
INTERVALS = 5


def sensor_trigger(number: int) -> SufficientCreditsTrigger:
    threshold = str(100 + number % 7)
    return SufficientCreditsTrigger("leadmagic_default", threshold, INTERVAL, waiting_since=time.time())


def test_a_thousand_sensors_share_one_poll_and_all_succeed_after_a_top_up(leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.set_credits(1)

    async def run() -> tuple[int, float, list[str]]:
        async with triggerer_with(map(sensor_trigger, range(SENSORS))) as runner:
            await until(lambda: len(leadmagic_sandbox.requests) > 0, INTERVAL * 3)
            before = len(leadmagic_sandbox.requests)
            await asyncio.sleep(INTERVAL * INTERVALS)
            cost = len(leadmagic_sandbox.requests) - before
            leadmagic_sandbox.add_credits(1000)
            topped_up = time.monotonic()
            await until(lambda: len(runner.events) == SENSORS, 30)
            succeeded_after = time.monotonic() - topped_up
            await asyncio.gather(*(details["task"] for details in runner.triggers.values()))
        return cost, succeeded_after, [entry.event.payload["status"] for entry in runner.events]

    cost, succeeded_after, statuses = asyncio.run(run())

    print(f"{SENSORS} sensors: {cost} requests in {INTERVALS} intervals; all succeeded after {succeeded_after:.1f} s")
    assert cost <= INTERVALS * 1.2
    assert succeeded_after < 3 * INTERVAL
    assert statuses == ["open"] * SENSORS
