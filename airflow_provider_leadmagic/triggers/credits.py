"""Triggers that watch a LeadMagic balance: one lets a gate open, one starts DAGs by an asset event."""

from __future__ import annotations

import logging
from abc import abstractmethod
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from airflow_provider_leadmagic.api.validation import check_flag, check_seconds, check_text, parse_credits
from airflow_provider_leadmagic.compat.imports import BaseEventTrigger
from airflow_provider_leadmagic.compat.task_state import asset_state_store
from airflow_provider_leadmagic.decisions.crossing import (
    Crossing,
    CrossingVerdict,
    Direction,
    crossing_event,
    log_change,
    log_failed_poll,
    log_lost_state,
)
from airflow_provider_leadmagic.decisions.events import error_event, open_event
from airflow_provider_leadmagic.decisions.gate import is_sufficient, tolerate_failed_poll, warn_about_short_interval

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Hashable
    from decimal import Decimal

    from airflow_provider_leadmagic.api.models import CreditBalance
    from airflow_provider_leadmagic.compat.task_state import AssetStateStore
    from airflow_provider_leadmagic.triggers.shared_poll import Reading

log = logging.getLogger(__name__)


class BalanceTrigger(BaseEventTrigger):
    """
    Shares one poll with all its kind: on one connection and interval they hear the same looks.

    Only event triggers may share a poll (Airflow 3.3+), so this is one, also where it serves deferred tasks. On older
    Airflow each trigger runs by itself, and they share the looks through
    :mod:`~airflow_provider_leadmagic.triggers.shared_poll`.

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
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncGenerator[Reading, None]:
        """
        Poll the balance.

        :param kwargs: Arguments of one of the triggers that share the poll, of whichever class.
        """
        # Imported here because it brings the HTTP client, which a DAG file that names this trigger has no use for.
        from airflow_provider_leadmagic.triggers.shared_poll import poll_balance

        conn_id, interval = kwargs["leadmagic_conn_id"], kwargs["poke_interval"]
        times = {name: kwargs.get(name, 0.0) for name in ("not_before", "waiting_since")}
        looks = poll_balance(conn_id, interval, refresh=kwargs["refresh"], **times)
        async with aclosing(looks):
            async for look in looks:
                yield look

    @abstractmethod
    def filter_shared_stream(self, shared_stream: AsyncIterator[Reading]) -> AsyncGenerator[TriggerEvent, None]:
        """
        Turn looks into events.

        :param shared_stream: What :meth:`open_shared_stream` yields.
        """

    async def run(self) -> AsyncGenerator[TriggerEvent, None]:
        """Work without a shared stream: on Airflow before 3.3, and in ``dag.test()``."""
        async with aclosing(self.open_shared_stream(self.serialize()[1])) as looks:
            async for event in self.filter_shared_stream(looks):
                yield event

    def _path(self) -> str:
        return f"{type(self).__module__}.{type(self).__qualname__}"


class SufficientCreditsTrigger(BalanceTrigger):
    """
    Fires once when the spendable balance covers a threshold, or when waiting for that has become pointless.

    :param leadmagic_conn_id: The connection.
    :param minimum_credits: The threshold, as text.
    :param poke_interval: Seconds between two looks.
    :param refresh: Whether LeadMagic should re-read the balance from its database for each look.
    :param not_before: Unix time before which not to look, because LeadMagic said so.
    :param waiting_since: Unix time of the look that the worker took before it deferred.
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
        waiting_since: float = 0.0,
    ) -> None:
        super().__init__(leadmagic_conn_id, poke_interval, refresh, not_before)
        self.minimum_credits = minimum_credits
        self.waiting_since = waiting_since

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Describe the trigger for the database: names and numbers, nothing secret."""
        return self._path(), {
            "leadmagic_conn_id": self.leadmagic_conn_id,
            "minimum_credits": self.minimum_credits,
            "poke_interval": self.poke_interval,
            "refresh": self.refresh,
            "not_before": self.not_before,
            "waiting_since": self.waiting_since,
        }

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Reading]) -> AsyncGenerator[TriggerEvent, None]:
        """
        Turn looks into the one event of this trigger.

        :param shared_stream: What :meth:`open_shared_stream` yields.
        """
        from airflow_provider_leadmagic.triggers.shared_poll import one_at_a_time

        async for shared in shared_stream:
            reading = await self._fresh_enough(shared)
            async with one_at_a_time():
                event = self._judge(reading)
            if event is not None:
                yield TriggerEvent(event)  # type: ignore[no-untyped-call]
                return

    async def _fresh_enough(self, reading: Reading) -> Reading:
        """Poll again if the sensor would succeed because of an old reading."""
        from airflow_provider_leadmagic.triggers.shared_poll import MAX_AGE_TO_SUCCEED, latest_reading

        if reading.balance and reading.balance.covers(self._minimum) and reading.age > MAX_AGE_TO_SUCCEED:
            return await latest_reading(self.leadmagic_conn_id, MAX_AGE_TO_SUCCEED, refresh=self.refresh)
        return reading

    def _judge(self, reading: Reading) -> dict[str, Any] | None:
        next_poll_in = max(reading.due_in(self.poke_interval), 0.0)
        if reading.balance:
            is_done = is_sufficient(self.log, reading.balance, self._minimum, self.leadmagic_conn_id, next_poll_in)
            return open_event(reading.balance, self._minimum) if is_done else None
        if reading.error and not reading.error.transient:
            return error_event(reading.error)
        if reading.error:
            tolerate_failed_poll(self.log, reading.error, reading.failures, next_poll_in)
        return None

    @property
    def _minimum(self) -> Decimal:
        return parse_credits("minimum_credits", self.minimum_credits)


class CreditsCrossingTrigger(BalanceTrigger):
    """
    Fires each time the spendable balance crosses a line; for an ``AssetWatcher`` (Airflow 3.0+).

    What counts is the crossing, not the level. The first look only tells on which side the balance is, and after an
    event the balance has to go back by the hysteresis before the next one. On Airflow 3.3+ this is kept with the asset:
    a restart of the triggerer neither repeats an event nor misses a crossing that happened meanwhile. On older Airflow
    it is kept in memory: a restart repeats nothing, but starts again from the level it finds.

    A failed look fires nothing and ends nothing: it is in the triggerer's log, and the next look tries again.

    The payload of the event is what a gate returns (see
    :meth:`~airflow_provider_leadmagic.api.models.CreditBalance.report`), and ``direction``, ``hysteresis`` and
    ``leadmagic_conn_id``.

    :param direction: ``rises_to`` or ``falls_below``.
    :param minimum_credits: The line, above 0: a number, or text that is one. Not templated.
    :param leadmagic_conn_id: The connection, ``leadmagic_default`` by default. Not templated.
    :param hysteresis: Credits by which the balance has to go back beyond the line before the next event; a tenth of
        the line by default.
    :param poke_interval: Seconds, or timedelta, from one look to the next; 300 by default.
    :param refresh: Have LeadMagic re-read the balance from its database for each look. Off by default.
    :raises ValueError: If an argument makes no sense; the message names it.
    """

    def __init__(
        self,
        direction: Direction,
        minimum_credits: Decimal | float | str,
        leadmagic_conn_id: str = "leadmagic_default",
        hysteresis: Decimal | float | str | None = None,
        poke_interval: timedelta | float = 300,
        refresh: bool = False,
    ) -> None:
        check_text("leadmagic_conn_id", leadmagic_conn_id)
        check_seconds("poke_interval", poke_interval, above_zero=True)
        check_flag("refresh", refresh)
        seconds = poke_interval.total_seconds() if isinstance(poke_interval, timedelta) else float(poke_interval)
        super().__init__(leadmagic_conn_id, seconds, refresh)
        self.crossing = Crossing.parse(direction, minimum_credits, hysteresis)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Describe the trigger for the database: names and numbers, nothing secret."""
        return self._path(), {
            "direction": self.crossing.direction,
            "minimum_credits": str(self.crossing.minimum_credits),
            "leadmagic_conn_id": self.leadmagic_conn_id,
            "hysteresis": str(self.crossing.hysteresis),
            "poke_interval": self.poke_interval,
            "refresh": self.refresh,
        }

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Reading]) -> AsyncGenerator[TriggerEvent, None]:
        """
        Turn looks into an event for each crossing.

        :param shared_stream: What :meth:`open_shared_stream` yields.
        """
        from airflow_provider_leadmagic.triggers.shared_poll import is_first_report

        warn_about_short_interval(self.log, self.poke_interval)
        state = self._crossing_state()
        async for reading in self._readings(shared_stream):
            if reading.balance and await self._crosses(state, reading.balance):
                event = crossing_event(reading.balance, self.crossing, self.leadmagic_conn_id)
                yield TriggerEvent(event)  # type: ignore[no-untyped-call]
            elif reading.error and is_first_report(reading):
                next_poll_in = max(reading.due_in(self.poke_interval), 0.0)
                log_failed_poll(self.log, reading.error, reading.failures, self.leadmagic_conn_id, next_poll_in)

    async def _readings(self, shared_stream: AsyncIterator[Reading]) -> AsyncGenerator[Reading, None]:
        from airflow_provider_leadmagic.triggers.shared_poll import MAX_AGE_TO_SUCCEED, latest_reading

        # A sensor polls before it defers. A watcher has not polled yet, and would take a top-up within its first
        # interval for the level it starts from.
        max_age = min(self.poke_interval, MAX_AGE_TO_SUCCEED)
        yield await latest_reading(self.leadmagic_conn_id, max_age, refresh=self.refresh)
        async for reading in shared_stream:
            yield reading

    def _crossing_state(self) -> CrossingState:
        crossing = self.crossing
        numbers = f"{float(crossing.minimum_credits)} {float(crossing.hysteresis)}"
        key = f"leadmagic {self.leadmagic_conn_id} {crossing.direction} {numbers}"
        return CrossingState(asset_state_store(self), key)

    async def _crosses(self, state: CrossingState, balance: CreditBalance) -> bool:
        try:
            was_armed = await state.read()
            is_armed, crosses = self.crossing.judge(was_armed, balance)
            # Before the event: if the triggerer dies in between, a DAG run is missed, rather than paid for twice.
            await state.write(is_armed)
        except Exception as error:
            log_lost_state(self.log, error, self.leadmagic_conn_id)
            return False
        if crosses or is_armed != was_armed:
            log_change(self.log, CrossingVerdict(is_armed, crosses), balance, self.crossing, self.leadmagic_conn_id)
        return crosses


_ARMED, _DISARMED = "armed", "disarmed"


class CrossingState:
    """
    The flag, in the asset's state store where there is one, else in memory only.

    :param store: The store; None before Airflow 3.3.
    :param key: Name of the flag in it.
    """

    def __init__(self, store: AssetStateStore | None, key: str) -> None:
        self._store = store
        self._key = key
        self._armed: bool | None = None
        self._is_read = False

    async def read(self) -> bool | None:
        """Return the flag; None if nothing is known. Raises what the store raises."""
        if not self._is_read:
            self._armed = await self._load()
            self._is_read = True
        return self._armed

    async def write(self, armed: bool) -> None:
        """Set the flag. Raises what the store raises, and is then as it was."""
        if self._store and armed != self._armed:
            await self._store.aset(self._key, _ARMED if armed else _DISARMED)
        self._armed, self._is_read = armed, True

    async def _load(self) -> bool | None:
        if self._store is None:
            return None
        try:
            saved = await self._store.aget(self._key)
        except ValueError as error:
            if type(error) is not ValueError:  # but one of its kind, such as unreadable JSON
                raise
            # Equal triggers are one to Airflow, and a store that belongs to several assets can be asked for none.
            log.warning("Two assets have equal LeadMagic watchers: Airflow keeps no state for these over a restart.")
            self._store = None
            return None
        return saved == _ARMED if saved in (_ARMED, _DISARMED) else None
