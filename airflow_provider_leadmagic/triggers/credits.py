"""Triggers that wait for a LeadMagic balance."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.triggers import BaseEventTrigger
from airflow.triggers.base import TriggerEvent

from airflow_provider_leadmagic.gate import error_event, gate_opens, open_event, tolerate_failed_look
from airflow_provider_leadmagic.models import parse_credits

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Hashable

    from airflow_provider_leadmagic.triggers.balance_poll import Look


class SufficientCreditsTrigger(BaseEventTrigger):
    """
    Fires once when the spendable balance covers a threshold, or when waiting for that has become pointless.

    Only an event trigger may share a poll (Airflow 3.3+), so this is one, though it serves deferred tasks: all gates
    on one connection and interval hear the same looks. On older Airflow each runs by itself, and they share the looks
    through :mod:`~airflow_provider_leadmagic.triggers.balance_poll`.

    :param leadmagic_conn_id: The connection.
    :param minimum_credits: The threshold, as text.
    :param poke_interval: Seconds between two looks.
    :param refresh: Whether LeadMagic should re-read the balance from its database for each look.
    :param not_before: Unix time before which not to look, because LeadMagic said so.
    """

    # Event triggers are kept off named triggerer queues as they belong to no task. This one does belong to a task.
    supports_triggerer_queue = True

    def __init__(
        self,
        leadmagic_conn_id: str,
        minimum_credits: str,
        poke_interval: float,
        refresh: bool = False,
        not_before: float = 0.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.leadmagic_conn_id = leadmagic_conn_id
        self.minimum_credits = minimum_credits
        self.poke_interval = poke_interval
        self.refresh = refresh
        self.not_before = not_before

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Describe the trigger for the database: names and numbers, nothing secret."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "leadmagic_conn_id": self.leadmagic_conn_id,
            "minimum_credits": self.minimum_credits,
            "poke_interval": self.poke_interval,
            "refresh": self.refresh,
            "not_before": self.not_before,
        }

    def shared_stream_key(self) -> Hashable:
        """Name the poll this trigger can share: with others that may look no earlier than it may."""
        return ("leadmagic-credits", self.leadmagic_conn_id, self.poke_interval, self.refresh, self.not_before)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncGenerator[Look, None]:
        """
        Poll the balance.

        :param kwargs: Arguments of one of the triggers that share the poll.
        """
        # Imported here because it brings the HTTP client, which a DAG file that names this trigger has no use for.
        from airflow_provider_leadmagic.triggers.balance_poll import watch_balance

        conn_id, interval = kwargs["leadmagic_conn_id"], kwargs["poke_interval"]
        looks = watch_balance(conn_id, interval, refresh=kwargs["refresh"], not_before=kwargs["not_before"])
        async with aclosing(looks):
            async for look in looks:
                yield look

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Look]) -> AsyncGenerator[TriggerEvent, None]:
        """
        Turn looks into the one event of this trigger.

        :param shared_stream: What :meth:`open_shared_stream` yields.
        """
        async for look in shared_stream:
            event = await self._judge(look)
            if event is not None:
                yield TriggerEvent(event)  # type: ignore[no-untyped-call]
                return

    async def run(self) -> AsyncGenerator[TriggerEvent, None]:
        """Wait without a shared stream: on Airflow before 3.3, and in ``dag.test()``."""
        async with aclosing(self.open_shared_stream(self.serialize()[1])) as looks:
            async for event in self.filter_shared_stream(looks):
                yield event

    async def _judge(self, look: Look) -> dict[str, Any] | None:
        from airflow_provider_leadmagic.triggers.balance_poll import OLDEST_TO_OPEN, take_look

        minimum = parse_credits("minimum_credits", self.minimum_credits)
        if look.balance and look.balance.covers(minimum) and look.age > OLDEST_TO_OPEN:
            look = await take_look(self.leadmagic_conn_id, OLDEST_TO_OPEN, refresh=self.refresh)
        if look.balance:
            is_open = gate_opens(self.log, look.balance, minimum, self.leadmagic_conn_id)
            return open_event(look.balance, minimum) if is_open else None
        if look.error and not look.error.transient:
            return error_event(look.error)
        if look.error:
            tolerate_failed_look(self.log, look.error, look.failures)
        return None
