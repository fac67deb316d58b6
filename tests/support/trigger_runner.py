"""Run triggers with Airflow's TriggerRunner in this process, or with a clock that stands still."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from airflow.triggers import base

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from pytest_mock import MockerFixture

with_shared_streams = pytest.mark.skipif(
    not hasattr(getattr(base, "BaseEventTrigger", None), "shared_stream_key"),
    reason="this Airflow has no shared streams",
)


@asynccontextmanager
async def triggerer_with(triggers: Iterable[Any]) -> AsyncGenerator[Any, None]:
    """Run triggers, and cancel those that are still running at the end."""
    from airflow.executors.workloads import RunTrigger
    from airflow.jobs.triggerer_job_runner import TriggerRunner
    from airflow.models.trigger import Trigger

    runner = TriggerRunner()
    for number, trigger in enumerate(triggers):
        classpath, kwargs = trigger.serialize()
        stored = Trigger.encrypt_kwargs(kwargs)
        runner.to_create.append(RunTrigger(id=number, ti=None, classpath=classpath, encrypted_kwargs=stored))
    await runner.create_triggers()
    yield runner
    for details in runner.triggers.values():
        details["task"].cancel()


def sleeps_at(now: float, mocker: MockerFixture) -> list[float]:
    """Return a list to which the triggers add the seconds that they would sleep, if it were always the same time."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    module = "airflow_provider_leadmagic.triggers.credits"
    mocker.patch(f"{module}.asyncio", mocker.Mock(wraps=asyncio, sleep=sleep))
    mocker.patch(f"{module}.time", mocker.Mock(wraps=time, time=lambda: now))
    return slept
