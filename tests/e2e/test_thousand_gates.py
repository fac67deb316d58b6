"""A thousand gates in one triggerer of Airflow 3.3: one poll, and every gate opens."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from airflow.triggers import base as triggers_of_airflow

from airflow_provider_leadmagic.triggers.credits import SufficientCreditsTrigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not hasattr(getattr(triggers_of_airflow, "BaseEventTrigger", None), "shared_stream_key"),
        reason="this Airflow has no shared streams",
    ),
]

GATES = 1000
INTERVAL = float(os.environ.get("LEADMAGIC_TEST_INTERVAL", "2"))
INTERVALS = 5


async def until(condition: Callable[[], bool], patience: float) -> None:
    async with asyncio.timeout(patience):
        while not condition():
            await asyncio.sleep(0.01)


def workload(number: int) -> Any:
    from airflow.executors.workloads import RunTrigger
    from airflow.models.trigger import Trigger

    trigger = SufficientCreditsTrigger("leadmagic_default", str(100 + number % 7), INTERVAL, waiting_since=time.time())
    classpath, kwargs = trigger.serialize()
    return RunTrigger(id=number, ti=None, classpath=classpath, encrypted_kwargs=Trigger.encrypt_kwargs(kwargs))


def test_a_thousand_gates_share_one_poll_and_all_open_after_a_top_up(leadmagic_sandbox: Sandbox) -> None:
    from airflow.jobs.triggerer_job_runner import TriggerRunner

    leadmagic_sandbox.set_credits(1)

    async def run() -> tuple[int, float, list[str]]:
        runner = TriggerRunner()
        runner.to_create.extend(workload(number) for number in range(GATES))
        await runner.create_triggers()
        await until(lambda: len(leadmagic_sandbox.requests) > 0, INTERVAL * 3)
        before = len(leadmagic_sandbox.requests)
        await asyncio.sleep(INTERVAL * INTERVALS)
        cost = len(leadmagic_sandbox.requests) - before
        leadmagic_sandbox.add_credits(1000)
        topped_up = time.monotonic()
        await until(lambda: len(runner.events) == GATES, 30)
        opened_after = time.monotonic() - topped_up
        await asyncio.gather(*(details["task"] for details in runner.triggers.values()))
        return cost, opened_after, [entry.event.payload["status"] for entry in runner.events]

    cost, opened_after, statuses = asyncio.run(run())

    print(f"{GATES} gates: {cost} requests in {INTERVALS} intervals; all open {opened_after:.1f} s after the top-up")
    assert cost <= INTERVALS * 1.2
    assert opened_after < 3 * INTERVAL
    assert statuses == ["open"] * GATES
