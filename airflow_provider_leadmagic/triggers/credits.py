"""Triggers that poll a LeadMagic balance: one resumes a deferred sensor or bulk task, one fires asset events."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import abstractmethod
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from airflow_provider_leadmagic.api.validation import as_seconds, check_flag, check_seconds, check_text, parse_credits
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
from airflow_provider_leadmagic.decisions.events import error_event, sufficient_event
from airflow_provider_leadmagic.decisions.gate import is_sufficient, tolerate_failed_poll, warn_about_short_interval

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Hashable
    from datetime import timedelta
    from decimal import Decimal

    from airflow_provider_leadmagic.api.models import CreditBalance
    from airflow_provider_leadmagic.compat.task_state import AssetStateStore
    from airflow_provider_leadmagic.triggers.shared_poll import Reading

log = logging.getLogger(__name__)

#: Shortest time between the deferral of a task and its resumption, in seconds. Airflow fails a task as lost if it runs
#: again before the scheduler notices that its previous process ended. A trigger that joins a shared poll (Airflow 3.3+)
#: can get a reading right after the deferral.
SHORTEST_DEFERRAL = 5.0


class BalanceTrigger(BaseEventTrigger):
    """
    Base class of triggers that share one balance poll.

    Triggers with the same connection, interval and ``refresh`` get the same readings.

    Only event triggers can share a stream (Airflow 3.3+), so this is one, even for deferred tasks. On
    older Airflow each trigger runs by itself, and they share readings through
    :mod:`~airflow_provider_leadmagic.triggers.shared_poll`.

    :param leadmagic_conn_id: Connection to poll.
    :param poke_interval: Seconds between two polls.
    :param refresh: Whether LeadMagic re-reads the balance from its database before each poll.
    :param not_before: Unix time before which not to poll, from ``Retry-After``; 0 for none.
    """

    def __init__(self, leadmagic_conn_id: str, poke_interval: float, refresh: bool, not_before: float = 0.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.leadmagic_conn_id = leadmagic_conn_id
        self.poke_interval = poke_interval
        self.refresh = refresh
        self.not_before = not_before

    def shared_stream_key(self) -> Hashable:
        """Return the key of the poll; triggers with equal keys share one."""
        return ("leadmagic-credits", self.leadmagic_conn_id, self.poke_interval, self.refresh, self.not_before)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncGenerator[Reading, None]:
        """
        Poll the balance and yield the readings.

        :param kwargs: Serialized arguments of one of the triggers that share the poll. It may be of any subclass.
        """
        # Imported here because it imports the HTTP client, which parsing a DAG with this trigger does not need.
        from airflow_provider_leadmagic.triggers.shared_poll import poll_balance

        conn_id, interval = kwargs["leadmagic_conn_id"], kwargs["poke_interval"]
        times = {name: kwargs.get(name, 0.0) for name in ("not_before", "waiting_since")}
        readings = poll_balance(conn_id, interval, refresh=kwargs["refresh"], **times)
        async with aclosing(readings):
            async for reading in readings:
                yield reading

    @abstractmethod
    def filter_shared_stream(self, shared_stream: AsyncIterator[Reading]) -> AsyncGenerator[TriggerEvent, None]:
        """
        Convert readings to events.

        :param shared_stream: The readings that :meth:`open_shared_stream` yields.
        """

    async def run(self) -> AsyncGenerator[TriggerEvent, None]:
        """Run without a shared stream: before Airflow 3.3, and in ``dag.test()``."""
        async with aclosing(self.open_shared_stream(self.serialize()[1])) as readings:
            async for event in self.filter_shared_stream(readings):
                yield event

    @staticmethod
    async def _let_process_end(deferred_at: float, shortest: float = SHORTEST_DEFERRAL) -> None:
        # Even if the worker's clock is ahead, the wait is at most ``shortest``.
        await asyncio.sleep(min(max(deferred_at + shortest - time.time(), 0.0), shortest))

    def _path(self) -> str:
        return f"{type(self).__module__}.{type(self).__qualname__}"


class SufficientCreditsTrigger(BalanceTrigger):
    """
    Fires once, when the spendable balance reaches a threshold or a poll fails with a permanent error.

    :param leadmagic_conn_id: Connection to poll.
    :param minimum_credits: The threshold, as a numeric string.
    :param poke_interval: Seconds between two polls.
    :param refresh: Whether LeadMagic re-reads the balance from its database before each poll.
    :param not_before: Unix time before which not to poll, from ``Retry-After``; 0 for none.
    :param waiting_since: Unix time of the worker's poll before it deferred; 0 if there was none.
    """

    # Airflow keeps event triggers off named triggerer queues because they have no task. This one has a task.
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
        """Return class path and arguments for Airflow's database; none of them is secret."""
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
        Evaluate the readings, and yield the only event of this trigger.

        :param shared_stream: The readings that :meth:`open_shared_stream` yields.
        """
        from airflow_provider_leadmagic.triggers.shared_poll import one_at_a_time

        async for shared in shared_stream:
            await self._let_process_end(self.waiting_since, min(self.poke_interval, SHORTEST_DEFERRAL))
            reading = await self._fresh_enough(shared)
            async with one_at_a_time():
                event = self._judge(reading)
            if event is not None:
                yield TriggerEvent(event)  # type: ignore[no-untyped-call]
                return

    async def _fresh_enough(self, reading: Reading) -> Reading:
        """Poll again if the reading is sufficient but too old for the task to continue."""
        from airflow_provider_leadmagic.triggers.shared_poll import MAX_AGE_TO_SUCCEED, latest_reading

        if reading.balance and reading.balance.covers(self._minimum) and reading.age > MAX_AGE_TO_SUCCEED:
            return await latest_reading(self.leadmagic_conn_id, MAX_AGE_TO_SUCCEED, refresh=self.refresh)
        return reading

    def _judge(self, reading: Reading) -> dict[str, Any] | None:
        next_poll_in = reading.due_in(self.poke_interval)
        if reading.balance:
            is_done = is_sufficient(self.log, reading.balance, self._minimum, self.leadmagic_conn_id, next_poll_in)
            return sufficient_event(reading.balance, self._minimum) if is_done else None
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
    Fires each time the spendable balance crosses a threshold; for an ``AssetWatcher`` (Airflow 3.0+).

    A balance that stays beyond the threshold fires no further event. The first poll of a new watcher only determines
    on which side of the threshold the balance is. After an event the balance must move back by the hysteresis before
    the next one. The state of a watcher is whether it is ready to fire, or must first see the balance move back.
    Airflow 3.3+ stores the state with the asset: after a restart of the triggerer no event is repeated, and a crossing
    that happened meanwhile is detected. On older Airflow the state is in memory: a restart repeats no event, but
    watching starts again from the current balance.

    A failed poll fires no event and does not stop the watcher: it is logged by the triggerer, and the next poll is the
    retry.

    The payload of the event is the report that a sensor returns (see
    :meth:`~airflow_provider_leadmagic.api.models.CreditBalance.report`), plus ``direction``, ``hysteresis`` and
    ``leadmagic_conn_id``.

    :param direction: ``rises_to`` or ``falls_below``.
    :param minimum_credits: The threshold, above 0: a number or a numeric string. Not templated.
    :param leadmagic_conn_id: Connection to poll, ``leadmagic_default`` by default. Not templated.
    :param hysteresis: Credits by which the balance must move back across the threshold before the next event; a tenth
        of the threshold by default.
    :param poke_interval: Time between two polls as a timedelta or in seconds; 300 s by default.
    :param refresh: Whether LeadMagic re-reads the balance from its database before each poll. Off by default.
    :raises ValueError: If an argument is invalid; the message names it.
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
        super().__init__(leadmagic_conn_id, as_seconds(poke_interval), refresh)
        self.crossing = Crossing.parse(direction, minimum_credits, hysteresis)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments for Airflow's database; none of them is secret."""
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
        Evaluate the readings, and yield an event for each crossing.

        :param shared_stream: The readings that :meth:`open_shared_stream` yields.
        """
        from airflow_provider_leadmagic.triggers.shared_poll import is_first_report

        warn_about_short_interval(self.log, self.poke_interval)
        state = self._crossing_state()
        async for reading in self._readings(shared_stream):
            if reading.balance and await self._crosses(state, reading.balance):
                event = crossing_event(reading.balance, self.crossing, self.leadmagic_conn_id)
                yield TriggerEvent(event)  # type: ignore[no-untyped-call]
            elif reading.error and is_first_report(reading):
                next_poll_in = reading.due_in(self.poke_interval)
                log_failed_poll(self.log, reading.error, reading.failures, self.leadmagic_conn_id, next_poll_in)

    async def _readings(self, shared_stream: AsyncIterator[Reading]) -> AsyncGenerator[Reading, None]:
        from airflow_provider_leadmagic.triggers.shared_poll import MAX_AGE_TO_SUCCEED, latest_reading

        # A sensor polls before it defers. A watcher has not polled yet. If it joined the stream of another trigger, its
        # first reading could be an interval away, and a top-up in that time would count as the initial balance.
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
            # Write before the event fires: if the triggerer dies in between, a DAG run is missed, not started twice.
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
    Whether a watcher is armed (its next crossing fires): kept in the asset's state store, or in memory if there is
    none.

    :param store: State store of the asset; None before Airflow 3.3.
    :param key: Key of the watcher's state in the store.
    """

    def __init__(self, store: AssetStateStore | None, key: str) -> None:
        self._store = store
        self._key = key
        self._armed: bool | None = None
        self._is_read = False

    async def read(self) -> bool | None:
        """Return whether the watcher is armed; None if unknown. Raises the errors of the store."""
        if not self._is_read:
            self._armed = await self._load()
            self._is_read = True
        return self._armed

    async def write(self, armed: bool) -> None:
        """Save whether the watcher is armed. If the store raises an error, the state is unchanged."""
        if self._store and armed != self._armed:
            await self._store.aset(self._key, _ARMED if armed else _DISARMED)
        self._armed, self._is_read = armed, True

    async def _load(self) -> bool | None:
        if self._store is None:
            return None
        try:
            saved = await self._store.aget(self._key)
        except ValueError as error:
            if type(error) is not ValueError:  # a subclass, such as a JSON error, is a failure of the store
                raise
            # Airflow runs equal triggers as one, and the store of a trigger with several assets raises ValueError.
            log.warning(
                "Two assets have equal LeadMagic watchers: "
                "set different thresholds, or crossings during a restart are missed."
            )
            self._store = None
            return None
        return saved == _ARMED if saved in (_ARMED, _DISARMED) else None
