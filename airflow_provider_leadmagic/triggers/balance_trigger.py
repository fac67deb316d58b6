"""What all triggers of this provider are: they hear the looks of one poll."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.compat.imports import BaseEventTrigger

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Hashable

    from airflow.triggers.base import TriggerEvent

    from airflow_provider_leadmagic.triggers.balance_poll import Look


class BalanceTrigger(BaseEventTrigger):
    """
    Shares one poll with all its kind: on one connection and interval they hear the same looks.

    Only event triggers may share a poll (Airflow 3.3+), so this is one, also where it serves deferred tasks. On older
    Airflow each trigger runs by itself, and they share the looks through
    :mod:`~airflow_provider_leadmagic.triggers.balance_poll`.

    :param leadmagic_conn_id: The connection.
    :param poke_interval: Seconds between two looks.
    :param refresh: Whether LeadMagic should re-read the balance from its database for each look.
    :param not_before: Unix time before which not to look, because LeadMagic said so.
    """

    def __init__(self, leadmagic_conn_id: str, poke_interval: float, refresh: bool, not_before: float = 0.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.leadmagic_conn_id = leadmagic_conn_id
        self.poke_interval = poke_interval
        self.refresh = refresh
        self.not_before = not_before

    def shared_stream_key(self) -> Hashable:
        """Name the poll this trigger can share: with others that may look no earlier than it may."""
        return ("leadmagic-credits", self.leadmagic_conn_id, self.poke_interval, self.refresh, self.not_before)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncGenerator[Look, None]:
        """
        Poll the balance.

        :param kwargs: Arguments of one of the triggers that share the poll, of whichever class.
        """
        # Imported here because it brings the HTTP client, which a DAG file that names this trigger has no use for.
        from airflow_provider_leadmagic.triggers.balance_poll import watch_balance

        conn_id, interval = kwargs["leadmagic_conn_id"], kwargs["poke_interval"]
        times = {name: kwargs.get(name, 0.0) for name in ("not_before", "waiting_since")}
        looks = watch_balance(conn_id, interval, refresh=kwargs["refresh"], **times)
        async with aclosing(looks):
            async for look in looks:
                yield look

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Look]) -> AsyncGenerator[TriggerEvent, None]:
        """
        Turn looks into events.

        :param shared_stream: What :meth:`open_shared_stream` yields.
        """
        raise NotImplementedError
        yield

    async def run(self) -> AsyncGenerator[TriggerEvent, None]:
        """Work without a shared stream: on Airflow before 3.3, and in ``dag.test()``."""
        async with aclosing(self.open_shared_stream(self.serialize()[1])) as looks:
            async for event in self.filter_shared_stream(looks):
                yield event

    def _path(self) -> str:
        return f"{type(self).__module__}.{type(self).__qualname__}"
