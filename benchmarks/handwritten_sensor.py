"""A typical handwritten deferrable sensor: each trigger polls on its own, with httpx, which Airflow depends on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
from airflow.sdk import BaseHook, BaseSensorOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class BalanceTrigger(BaseTrigger):
    """Polls until the balance is sufficient."""

    def __init__(self, conn_id: str, minimum_credits: float, poke_interval: float) -> None:
        super().__init__()
        self.conn_id, self.minimum_credits, self.poke_interval = conn_id, minimum_credits, poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        arguments = {name: getattr(self, name) for name in ("conn_id", "minimum_credits", "poke_interval")}
        return "benchmarks.handwritten_sensor.BalanceTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until the balance is sufficient, then fire."""
        connection = await BaseHook.aget_connection(self.conn_id)
        headers = {"X-API-Key": connection.extra_dejson["X-API-Key"]}
        async with httpx.AsyncClient(base_url=connection.host, headers=headers, timeout=30) as client:
            while (await client.get("/v1/credits")).raise_for_status().json()["credits"] < self.minimum_credits:
                await asyncio.sleep(self.poke_interval)
        yield TriggerEvent(True)


class BalanceSensor(BaseSensorOperator):
    """Waits until the balance is sufficient."""

    def __init__(self, conn_id: str, minimum_credits: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id, self.minimum_credits = conn_id, minimum_credits

    def execute(self, context: Any) -> None:
        """Defer immediately."""
        trigger = BalanceTrigger(self.conn_id, self.minimum_credits, self.poke_interval)
        self.defer(trigger=trigger, method_name="execute_complete")

    def execute_complete(self, context: Any, event: Any = None) -> None:
        """Succeed."""
