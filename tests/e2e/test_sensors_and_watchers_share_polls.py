"""A hundred sensors and ten watchers on one connection share one request per interval while they wait."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.triggers.credits import CreditsCrossingTrigger, SufficientCreditsTrigger
from tests.support.trigger_runner import triggerer_with, with_shared_streams
from tests.support.waiting import until

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

pytestmark = pytest.mark.e2e

INTERVAL, INTERVALS = 2.0, 5


def triggers() -> list[Any]:
    sensors = [SufficientCreditsTrigger("leadmagic_default", str(100 + number), INTERVAL) for number in range(100)]
    watchers = [CreditsCrossingTrigger("rises_to", 100 + number, poke_interval=INTERVAL) for number in range(10)]
    return [*sensors, *watchers]


async def count_requests_while_waiting(sandbox: Sandbox) -> int:
    """Count the requests during ten intervals, after all triggers have started."""
    await until(lambda: len(sandbox.requests) >= 2, INTERVAL * 3)
    before = len(sandbox.requests)
    await asyncio.sleep(INTERVAL * INTERVALS)
    return len(sandbox.requests) - before


@with_shared_streams
def test_they_share_one_poll_in_a_triggerer_with_shared_streams(leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.set_credits(1)

    async def run() -> int:
        async with triggerer_with(triggers()) as runner:
            cost = await count_requests_while_waiting(leadmagic_sandbox)
            leadmagic_sandbox.set_credits(1000)
            await until(lambda: len(runner.events) == 110, INTERVAL * 3)
        return cost

    cost = asyncio.run(run())

    print(f"100 sensors and 10 watchers: {cost} requests in {INTERVALS} intervals")
    assert cost <= INTERVALS * 1.2


@with_shared_streams
def test_a_sensor_whose_interval_is_over_polls_at_once_even_if_a_watcher_starts_the_shared_poll(
    leadmagic_sandbox: Sandbox,
) -> None:
    watcher = CreditsCrossingTrigger("rises_to", 100, poke_interval=60)
    sensor = SufficientCreditsTrigger("leadmagic_default", "100", 60.0, waiting_since=time.time() - 300)

    async def run() -> None:
        async with triggerer_with([watcher, sensor]) as runner:
            await until(lambda: len(runner.events) == 1, 15)

    asyncio.run(run())

    assert len(leadmagic_sandbox.requests) == 1


def test_they_share_readings_in_a_triggerer_without_shared_streams(leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.set_credits(1)
    events: list[Any] = []

    async def collect(trigger: Any) -> None:
        async with aclosing(trigger.run()) as stream:
            async for event in stream:
                events.append(event.payload)

    async def run() -> int:
        tasks = [asyncio.create_task(collect(trigger)) for trigger in triggers()]
        cost = await count_requests_while_waiting(leadmagic_sandbox)
        leadmagic_sandbox.set_credits(1000)
        await until(lambda: len(events) == 110, INTERVAL * 3)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return cost

    cost = asyncio.run(run())

    print(f"100 sensors and 10 watchers without shared streams: {cost} requests in {INTERVALS} intervals")
    assert cost <= INTERVALS * 1.2
