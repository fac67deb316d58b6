"""A trigger that only sleeps, to measure the cost of Airflow itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class SleepingTrigger(BaseTrigger):
    """Sleeps forever."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and no arguments."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Never fire."""
        await asyncio.Event().wait()
        yield TriggerEvent(None)
