"""The trigger of a watcher: its stored arguments, its state, when it fires, its log lines, and its shared polls."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.models.trigger import Trigger

from airflow_provider_leadmagic.triggers import shared_poll
from airflow_provider_leadmagic.triggers.credits import CreditsCrossingTrigger, SufficientCreditsTrigger
from dev.local_airflow import IS_AIRFLOW_3
from tests.support.waiting import until
from tests.unit.triggers.test_crossing_state import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_mock import MockerFixture

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

NEVER = 3600


def make(direction: Any = "rises_to", minimum_credits: Any = 500, **changes: Any) -> CreditsCrossingTrigger:
    return CreditsCrossingTrigger(direction, minimum_credits, **{"poke_interval": 0.05, **changes})


class Watch:
    """Runs a watcher as a triggerer does, and collects its events."""

    def __init__(self, trigger: CreditsCrossingTrigger, store: Any = None) -> None:
        trigger.asset_state_store = store
        self.events: list[dict[str, Any]] = []
        self.task = asyncio.create_task(self._collect(trigger))

    async def _collect(self, trigger: CreditsCrossingTrigger) -> None:
        async with aclosing(trigger.run()) as events:
            async for event in events:
                self.events.append(event.payload)


async def wait_for_polls(sandbox: Sandbox, number: int) -> None:
    """Wait until this number of further polls is complete."""
    expected = len(sandbox.requests) + number + 1
    await until(lambda: len(sandbox.requests) >= expected)


@pytest.fixture
def logged_at(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Return a function that returns what watchers logged at a level, on every Airflow version."""
    monkeypatch.setattr(CreditsCrossingTrigger, "log", logging.getLogger("watcher"))
    caplog.set_level(logging.INFO)
    return lambda level: [record.getMessage() for record in caplog.records if record.levelname == level]


def test_airflow_stores_and_restores_its_arguments() -> None:
    trigger = make(minimum_credits="500.50", hysteresis=0.05, poke_interval=60, refresh=True)
    classpath, kwargs = trigger.serialize()

    stored = Trigger(classpath=classpath, kwargs=kwargs)

    assert classpath == "airflow_provider_leadmagic.triggers.credits.CreditsCrossingTrigger"
    assert CreditsCrossingTrigger(**stored.kwargs).serialize() == (classpath, kwargs)
    assert kwargs == {
        "direction": "rises_to",
        "minimum_credits": "500.50",
        "leadmagic_conn_id": "leadmagic_default",
        "hysteresis": "0.05",
        "poke_interval": 60.0,
        "refresh": True,
    }


def test_by_default_it_polls_the_default_connection_every_300_s_without_refresh() -> None:
    _, kwargs = CreditsCrossingTrigger("falls_below", 500).serialize()

    assert kwargs == {
        "direction": "falls_below",
        "minimum_credits": "500",
        "leadmagic_conn_id": "leadmagic_default",
        "hysteresis": "50.0",
        "poke_interval": 300.0,
        "refresh": False,
    }


def test_an_interval_can_be_a_timedelta() -> None:
    assert make(poke_interval=timedelta(minutes=2)).serialize() == make(poke_interval=120).serialize()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"leadmagic_conn_id": " "}, "leadmagic_conn_id must be text that is not blank; got ' '"),
        ({"leadmagic_conn_id": None}, "leadmagic_conn_id must be text that is not blank; got None"),
        ({"poke_interval": 0}, "poke_interval must be a timedelta or a number of seconds, above 0; got 0"),
        ({"refresh": "no"}, "refresh must be True or False; got 'no'"),
        ({"direction": "up"}, "direction must be rises_to or falls_below; got 'up'"),
    ],
)
def test_an_invalid_argument_is_rejected_when_the_dag_is_parsed(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes)


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="Airflow 2 has no asset watchers")
def test_an_asset_watcher_accepts_it() -> None:
    from airflow.sdk import Asset, AssetWatcher

    trigger = make()

    assert Asset("credits", watchers=[AssetWatcher(name="watcher", trigger=trigger)]).watchers[0].trigger is trigger


def test_it_shares_the_poll_of_sensors_with_its_connection_and_interval() -> None:
    sensor_trigger = SufficientCreditsTrigger("leadmagic_default", "5", poke_interval=60.0)

    assert make(poke_interval=60).shared_stream_key() == sensor_trigger.shared_stream_key()
    assert make(poke_interval=61).shared_stream_key() != sensor_trigger.shared_stream_key()


def test_it_fires_for_each_crossing_only(leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.set_credits(1)

    async def run() -> list[Any]:
        watch = Watch(make())
        for balance in (1, 600, 700, 1, 501):
            leadmagic_sandbox.set_credits(balance)
            await wait_for_polls(leadmagic_sandbox, 2)
        return [event["spendable"] for event in watch.events]

    assert asyncio.run(run()) == [600, 501]


def test_its_event_contains_balance_threshold_direction_and_time_as_json(leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.set_credits("1000.05")

    async def run() -> dict[str, Any]:
        watch = Watch(make("falls_below", 500))
        await wait_for_polls(leadmagic_sandbox, 1)
        leadmagic_sandbox.set_credits("99.95")
        await until(lambda: bool(watch.events))
        return watch.events[0]

    event = json.loads(json.dumps(asyncio.run(run())))

    assert event.pop("observed_at").endswith("+00:00")
    assert event == {
        "credits": 99.95,
        "spendable": 99.95,
        "is_frozen": False,
        "freeze_message": None,
        "minimum_credits": 500,
        "sufficient": False,
        "direction": "falls_below",
        "hysteresis": 50,
        "leadmagic_conn_id": "leadmagic_default",
    }


@pytest.mark.parametrize(
    ("saved", "fires"),
    [("armed", True), ("disarmed", False), (None, False)],
    ids=["rose while no triggerer ran", "already fired", "never polled before"],
)
def test_its_first_poll_is_made_at_once_and_compared_with_the_stored_state(
    leadmagic_sandbox: Sandbox, saved: str | None, fires: bool
) -> None:
    store = Store(**({"leadmagic leadmagic_default rises_to 500.0 50.0": saved} if saved else {}))

    async def run() -> list[Any]:
        watch = Watch(make(poke_interval=NEVER), store)
        await until(lambda: bool(leadmagic_sandbox.requests) and (bool(watch.events) or bool(store.saved)))
        await until(lambda: fires is bool(watch.events))
        return watch.events

    assert bool(asyncio.run(run())) is fires
    assert list(store.saved.values()) == ["disarmed"]


def test_watchers_with_different_thresholds_have_separate_states(leadmagic_sandbox: Sandbox) -> None:
    store = Store()

    async def run() -> None:
        watchers = [make(minimum_credits=threshold) for threshold in (1_234_567, 1_234_568)] + [make("falls_below")]
        for watcher in [*watchers, make(leadmagic_conn_id="missing")]:
            Watch(watcher, store)
        await until(lambda: len(store.saved) >= 3)

    asyncio.run(run())

    assert len(store.saved) == 3  # the connection of the fourth does not exist


def test_its_first_reading_is_not_an_old_one_of_another_trigger(
    leadmagic_sandbox: Sandbox, mocker: MockerFixture
) -> None:
    mocker.patch.object(shared_poll, "MAX_AGE_TO_SUCCEED", 0.05)
    store = Store(**{"leadmagic leadmagic_default rises_to 500.0 50.0": "armed"})

    async def run() -> list[dict[str, Any]]:
        reading = await shared_poll.latest_reading("leadmagic_default", NEVER, refresh=False)
        leadmagic_sandbox.set_credits(1)  # spent since
        await until(lambda: reading.age > 0.1)
        watch = Watch(make(poke_interval=NEVER), store)
        await until(lambda: len(leadmagic_sandbox.requests) == 2 and store.reads == 1)
        return watch.events

    assert asyncio.run(run()) == []
    assert list(store.saved.values()) == ["armed"]


def test_a_crossing_whose_state_cannot_be_saved_fires_at_a_later_poll(
    leadmagic_sandbox: Sandbox, logged_at: Callable[[str], list[str]]
) -> None:
    store = Store()
    leadmagic_sandbox.set_credits(1)

    async def run() -> list[int]:
        watch = Watch(make(), store)
        await until(lambda: list(store.saved.values()) == ["armed"])
        store.failure = RuntimeError("the API server is unavailable")
        leadmagic_sandbox.set_credits(600)
        await wait_for_polls(leadmagic_sandbox, 2)
        events_during_outage = len(watch.events)
        store.failure = None
        await wait_for_polls(leadmagic_sandbox, 2)
        return [events_during_outage, len(watch.events)]

    assert asyncio.run(run()) == [0, 1]
    problem = "Watcher cannot read or write Airflow's asset state store, retrying at the next poll: RuntimeError: "
    assert f"{problem}the API server is unavailable (connection 'leadmagic_default')" in logged_at("WARNING")


def test_airflow_can_send_the_event_of_a_huge_balance(leadmagic_sandbox: Sandbox) -> None:
    msgspec = pytest.importorskip("msgspec", reason="without msgspec this Airflow does not pack events")
    leadmagic_sandbox.set_credits(1)

    async def run() -> dict[str, Any]:
        watch = Watch(make())
        await wait_for_polls(leadmagic_sandbox, 1)
        leadmagic_sandbox.set_credits(10**20)
        await until(lambda: bool(watch.events))
        return watch.events[0]

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(asyncio.run(run())))["credits"] == 1e20


@pytest.mark.parametrize(
    ("fault", "level", "text"),
    [
        ({"status": 401}, "ERROR", "resume automatically once this is fixed."),
        ({"body": '{"credits": "many"}'}, "ERROR", "`credits` is not a finite number. Check the host of connection"),
        ({"status": 503}, "WARNING", "Server error (503 service_unavailable): "),
        ({"drop": True}, "WARNING", "Connection closed by the server: "),
    ],
    ids=str,
)
def test_a_failed_poll_is_logged_once_for_many_watchers_and_they_recover(
    leadmagic_sandbox: Sandbox, logged_at: Callable[[str], list[str]], fault: dict[str, Any], level: str, text: str
) -> None:
    leadmagic_sandbox.set_credits(1)

    async def run() -> tuple[int, list[int]]:
        watches = [Watch(make(minimum_credits=threshold, poke_interval=0.1)) for threshold in range(500, 510)]
        await wait_for_polls(leadmagic_sandbox, 1)
        leadmagic_sandbox.fail_next("/v1/credits", **fault, times=3)
        before = len(leadmagic_sandbox.requests)
        await wait_for_polls(leadmagic_sandbox, 4)
        failed = sum(1 for request in leadmagic_sandbox.requests[before:] if request.status != 200)
        leadmagic_sandbox.set_credits(600)
        await until(lambda: all(watch.events for watch in watches))
        return failed, [len(watch.events) for watch in watches]

    _, events = asyncio.run(run())
    lines = [line for line in logged_at(level) if "Watcher poll failed" in line]

    assert events == [1] * 10
    assert 1 <= len(lines) <= 3
    assert all(text in line and "'leadmagic_default'" in line for line in lines)
    for number, line in enumerate(lines, 1):
        assert f"({number} in a row), retrying in " in line


def test_a_missing_connection_is_logged_and_does_not_end_the_watcher(logged_at: Callable[[str], list[str]]) -> None:
    async def run() -> bool:
        watch = Watch(make(leadmagic_conn_id="missing"))
        await until(lambda: len(logged_at("WARNING")) >= 3)
        return watch.task.done()

    assert asyncio.run(run()) is False
    assert any("'missing'" in line for line in logged_at("WARNING"))


def test_only_polls_that_change_the_state_are_logged(
    leadmagic_sandbox: Sandbox, logged_at: Callable[[str], list[str]]
) -> None:
    leadmagic_sandbox.set_credits(1)

    async def run() -> None:
        watch = Watch(make())
        await wait_for_polls(leadmagic_sandbox, 3)
        leadmagic_sandbox.set_credits(600)
        await until(lambda: bool(watch.events))

    asyncio.run(run())

    threshold = "the threshold of 500 (rises_to) on connection 'leadmagic_default'"
    assert [line for line in logged_at("INFO") if "Watcher" in line] == [
        f"Watcher armed: 1 spendable credits are below {threshold}.",
        f"Watcher fired: 600 spendable credits reached {threshold}.",
    ]


def test_a_short_interval_logs_a_warning(leadmagic_sandbox: Sandbox, logged_at: Callable[[str], list[str]]) -> None:
    async def run() -> None:
        Watch(make())
        await wait_for_polls(leadmagic_sandbox, 0)

    asyncio.run(run())

    advice = "LeadMagic asks clients to cache a balance for 1 to 5 minutes"
    assert f"poke_interval of 0.05 s is short: {advice}." in logged_at("WARNING")


def test_cancelling_it_leaves_no_poll_running(leadmagic_sandbox: Sandbox) -> None:
    async def run() -> None:
        watch = Watch(make())
        await wait_for_polls(leadmagic_sandbox, 1)
        watch.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watch.task
        await until(lambda: len(asyncio.all_tasks()) == 1)  # wait for a request that was sent before the cancellation

    asyncio.run(run())
