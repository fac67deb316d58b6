"""A trigger that waits for nothing: what is left of the cost is Airflow's own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class SleepingTrigger(BaseTrigger):
    """Sleeps for good."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Describe the trigger for the database."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Never fire."""
        await asyncio.Event().wait()
        yield TriggerEvent(None)
