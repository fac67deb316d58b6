"""Run triggers with Airflow's TriggerRunner in this process."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from airflow.triggers import base

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

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
