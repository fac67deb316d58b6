"""A hundred waiting sensors that claim credits share the questions to LeadMagic and to Airflow."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing, asynccontextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.compat.metadata import TaskKey
from airflow_provider_leadmagic.decisions.ledger import Claim, Ledger
from airflow_provider_leadmagic.triggers.claims import ClaimedCreditsTrigger
from dev.local_airflow import IS_AIRFLOW_3
from tests.support.trigger_runner import triggerer_with, with_shared_streams
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not IS_AIRFLOW_3, reason="Airflow 2 has no supervisor")]

INTERVAL, INTERVALS = 2.0, 5
DAGS, CREDITS = 2, 100
TASKS = [TaskKey(f"dag_{number % DAGS}", f"run_{number}", "claim") for number in range(100)]


class CountingSupervisor:
    """Responds as the supervisor of a triggerer does while all tasks are deferred, and counts the messages."""

    def __init__(self) -> None:
        self.messages: Counter[str] = Counter()
        claims = (Claim(task, Decimal(CREDITS), since=number) for number, task in enumerate(TASKS))
        self._ledger = Ledger(tuple(claims)).to_text()

    def send(self, message: Any) -> None:
        """Ignore the request to mask a secret of the connection, which code in a thread sends."""

    async def asend(self, message: Any) -> Any:
        from airflow.sdk.execution_time import comms

        name = type(message).__name__
        if name == "MaskSecret":  # not counted: it is sent whenever the connection is read
            return None
        self.messages[name] += 1
        if name == "GetVariable":
            return comms.VariableResult(key=message.key, value=self._ledger)
        if name == "GetTaskStates":
            states = {run_id: dict.fromkeys(message.task_ids, "deferred") for run_id in message.run_ids}
            return comms.TaskStatesResult(task_states=states)
        return comms.DRCount(count=len(message.run_ids))


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> CountingSupervisor:
    from airflow.sdk.execution_time import task_runner

    supervisor = CountingSupervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    return supervisor


def triggers() -> list[Any]:
    return [
        ClaimedCreditsTrigger("leadmagic_default", str(CREDITS), INTERVAL, "leadmagic", list(task)) for task in TASKS
    ]


@asynccontextmanager
async def in_tasks_of_their_own(triggers: list[Any]) -> AsyncGenerator[list[Any], None]:
    """Run triggers as a triggerer without shared streams does, and yield the list of their events."""
    events: list[Any] = []

    async def collect(trigger: Any) -> None:
        async with aclosing(trigger.run()) as stream:
            events.extend([event.payload async for event in stream])

    tasks = [asyncio.create_task(collect(trigger)) for trigger in triggers]
    yield events
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def in_a_triggerer(triggers: list[Any]) -> AsyncGenerator[Any, None]:
    async with triggerer_with(triggers) as runner:
        yield runner.events


@pytest.mark.parametrize(
    "running",
    [pytest.param(in_a_triggerer, marks=with_shared_streams), in_tasks_of_their_own],
    ids=lambda run: run.__name__,
)
def test_they_ask_once_per_interval_and_only_those_that_can_be_granted_credits_are_resumed(
    leadmagic_sandbox: Sandbox, supervisor: CountingSupervisor, running: Any
) -> None:
    leadmagic_sandbox.set_credits(CREDITS - 1)

    async def run() -> tuple[int, Counter[str]]:
        async with running(triggers()) as events:
            await until(lambda: len(leadmagic_sandbox.requests) >= 2, INTERVAL * 10)
            requests, messages = len(leadmagic_sandbox.requests), supervisor.messages.copy()
            await asyncio.sleep(INTERVAL * INTERVALS)
            cost = len(leadmagic_sandbox.requests) - requests, supervisor.messages - messages
            assert not events
            leadmagic_sandbox.set_credits(CREDITS * 3)
            await until(lambda: len(events) == 3, INTERVAL * 10)
            polls = len(leadmagic_sandbox.requests)
            await until(lambda: len(leadmagic_sandbox.requests) >= polls + 3, INTERVAL * 10)
            assert len(events) == 3
        return cost

    requests, messages = asyncio.run(run())

    print(f"{len(TASKS)} sensors: {requests} requests and {dict(messages)} in {INTERVALS} intervals")
    assert requests <= INTERVALS * 1.2
    assert messages["GetVariable"] <= INTERVALS * 1.2
    assert messages["GetTaskStates"] <= INTERVALS * 1.2 * DAGS
    assert messages["GetDRCount"] <= INTERVALS * 1.2 * DAGS
    assert messages.keys() <= {"GetVariable", "GetTaskStates", "GetDRCount"}
