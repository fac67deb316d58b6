"""The watcher's trigger: what it keeps, when it fires, what it says, whom it shares its looks with."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.models.trigger import Trigger

from airflow_provider_leadmagic.triggers import shared_poll as balance_poll
from airflow_provider_leadmagic.triggers.credits import CreditsCrossingTrigger, SufficientCreditsTrigger
from dev.local_airflow import IS_AIRFLOW_3
from tests.support.waiting import until
from tests.unit.triggers.test_armed_flag import Store

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


async def looks(sandbox: Sandbox, number: int) -> None:
    """Wait until so many more looks were made, the last one in full."""
    wanted = len(sandbox.requests) + number + 1
    await until(lambda: len(sandbox.requests) >= wanted)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Collect what watchers wrote at a level; Airflow's own loggers write each version elsewhere."""
    monkeypatch.setattr(CreditsCrossingTrigger, "log", logging.getLogger("watcher"))
    caplog.set_level(logging.INFO)
    return lambda level: [record.getMessage() for record in caplog.records if record.levelname == level]


def test_airflow_stores_it_and_builds_the_same_one_again() -> None:
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


def test_an_interval_may_be_a_timedelta() -> None:
    assert make(poke_interval=timedelta(minutes=2)).serialize() == make(poke_interval=120).serialize()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"leadmagic_conn_id": " "}, "leadmagic_conn_id must be text that is not blank; got ' '"),
        ({"leadmagic_conn_id": None}, "leadmagic_conn_id must be text that is not blank; got None"),
        ({"poke_interval": 0}, "poke_interval must be a timedelta or a number of seconds, above 0; got 0"),
        ({"refresh": "no"}, "refresh must be True or False; got 'no'"),
        ({"direction": "up"}, "direction must be rises_to or falls_below; got 'up'"),
    ],
)
def test_a_mistake_is_seen_when_the_dag_is_parsed(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make(**changes)


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="Airflow 2 has no asset watchers")
def test_an_asset_watcher_takes_it() -> None:
    from airflow.sdk import Asset, AssetWatcher

    trigger = make()

    assert Asset("credits", watchers=[AssetWatcher(name="watcher", trigger=trigger)]).watchers[0].trigger is trigger


def test_it_shares_the_poll_of_the_gates_of_its_connection_and_interval() -> None:
    gate = SufficientCreditsTrigger("leadmagic_default", "5", poke_interval=60.0)

    assert make(poke_interval=60).shared_stream_key() == gate.shared_stream_key()
    assert make(poke_interval=61).shared_stream_key() != gate.shared_stream_key()


def test_it_fires_for_each_crossing_and_for_nothing_else(leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.set_credits(1)

    async def run() -> list[Any]:
        watch = Watch(make())
        for balance in (1, 600, 700, 1, 501):
            leadmagic_sandbox.set_credits(balance)
            await looks(leadmagic_sandbox, 2)
        return [event["spendable"] for event in watch.events]

    assert asyncio.run(run()) == [600, 501]


def test_its_event_tells_balance_threshold_direction_and_time_in_plain_json(leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.set_credits("1000.05")

    async def run() -> dict[str, Any]:
        watch = Watch(make("falls_below", 500))
        await looks(leadmagic_sandbox, 1)
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
    ids=["a rise while no triggerer ran", "told already", "never looked before"],
)
def test_its_first_look_is_made_at_once_and_held_against_what_it_knew(
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


def test_watchers_of_different_lines_remember_different_things(leadmagic_sandbox: Sandbox) -> None:
    store = Store()

    async def run() -> None:
        watchers = [make(minimum_credits=line) for line in (1_234_567, 1_234_568)] + [make("falls_below")]
        for watcher in [*watchers, make(leadmagic_conn_id="nobody_made_it")]:
            Watch(watcher, store)
        await until(lambda: len(store.saved) >= 3)

    asyncio.run(run())

    assert len(store.saved) == 3  # the fourth has no connection to look at


def test_its_first_look_is_not_an_old_one_of_somebody_else(leadmagic_sandbox: Sandbox, mocker: MockerFixture) -> None:
    mocker.patch.object(balance_poll, "MAX_AGE_TO_SUCCEED", 0.05)
    store = Store(**{"leadmagic leadmagic_default rises_to 500.0 50.0": "armed"})

    async def run() -> list[dict[str, Any]]:
        look = await balance_poll.latest_reading("leadmagic_default", NEVER)
        leadmagic_sandbox.set_credits(1)  # spent since
        await until(lambda: look.age > 0.1)
        watch = Watch(make(poke_interval=NEVER), store)
        await until(lambda: len(leadmagic_sandbox.requests) == 2 and store.reads == 1)
        return watch.events

    assert asyncio.run(run()) == []
    assert list(store.saved.values()) == ["armed"]


def test_a_crossing_that_airflow_could_not_be_told_of_waits_for_the_next_look(
    leadmagic_sandbox: Sandbox, logged: Callable[[str], list[str]]
) -> None:
    store = Store()
    leadmagic_sandbox.set_credits(1)

    async def run() -> list[int]:
        watch = Watch(make(), store)
        await until(lambda: list(store.saved.values()) == ["armed"])
        store.failure = RuntimeError("the API server is away")
        leadmagic_sandbox.set_credits(600)
        await looks(leadmagic_sandbox, 2)
        while_away = len(watch.events)
        store.failure = None
        await looks(leadmagic_sandbox, 2)
        return [while_away, len(watch.events)]

    assert asyncio.run(run()) == [0, 1]
    complaint = "Watcher cannot read or write Airflow's asset state store, retrying at the next poll: RuntimeError: "
    assert f"{complaint}the API server is away (connection 'leadmagic_default')" in logged("WARNING")


def test_an_absurd_balance_still_makes_an_event_that_airflow_can_send(leadmagic_sandbox: Sandbox) -> None:
    msgspec = pytest.importorskip("msgspec", reason="no triggerer packs events without it")
    leadmagic_sandbox.set_credits(1)

    async def run() -> dict[str, Any]:
        watch = Watch(make())
        await looks(leadmagic_sandbox, 1)
        leadmagic_sandbox.set_credits(10**20)
        await until(lambda: bool(watch.events))
        return watch.events[0]

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(asyncio.run(run())))["credits"] == 1e20


@pytest.mark.parametrize(
    ("fault", "level", "told"),
    [
        ({"status": 401}, "ERROR", "resume automatically once this is fixed."),
        ({"body": '{"credits": "many"}'}, "ERROR", "`credits` is not a finite number. Watchers on connection"),
        ({"status": 503}, "WARNING", "was answered 503"),
        ({"drop": True}, "WARNING", "got no response"),
    ],
    ids=str,
)
def test_a_failed_look_is_told_once_however_many_watch_and_they_recover(
    leadmagic_sandbox: Sandbox, logged: Callable[[str], list[str]], fault: dict[str, Any], level: str, told: str
) -> None:
    leadmagic_sandbox.set_credits(1)

    async def run() -> tuple[int, list[int]]:
        watches = [Watch(make(minimum_credits=line, poke_interval=0.1)) for line in range(500, 510)]
        await looks(leadmagic_sandbox, 1)
        leadmagic_sandbox.fail_next("/v1/credits", **fault, times=3)
        before = len(leadmagic_sandbox.requests)
        await looks(leadmagic_sandbox, 4)
        failed = sum(1 for request in leadmagic_sandbox.requests[before:] if request.status != 200)
        leadmagic_sandbox.set_credits(600)
        await until(lambda: all(watch.events for watch in watches))
        return failed, [len(watch.events) for watch in watches]

    _, events = asyncio.run(run())
    complaints = [line for line in logged(level) if "Watcher poll failed" in line]

    assert events == [1] * 10
    assert 1 <= len(complaints) <= 3
    assert all(told in line and "'leadmagic_default'" in line for line in complaints)
    assert [f"({number} in a row), retrying in " in line for number, line in enumerate(complaints, 1)] == [True] * len(
        complaints
    )


def test_a_missing_connection_is_told_and_does_not_end_the_watch(logged: Callable[[str], list[str]]) -> None:
    async def run() -> bool:
        watch = Watch(make(leadmagic_conn_id="nobody_made_it"))
        await until(lambda: len(logged("WARNING")) >= 3)
        return watch.task.done()

    assert asyncio.run(run()) is False
    assert any("'nobody_made_it'" in line for line in logged("WARNING"))


def test_what_changes_is_told_and_quiet_looks_are_not(
    leadmagic_sandbox: Sandbox, logged: Callable[[str], list[str]]
) -> None:
    leadmagic_sandbox.set_credits(1)

    async def run() -> None:
        watch = Watch(make())
        await looks(leadmagic_sandbox, 3)
        leadmagic_sandbox.set_credits(600)
        await until(lambda: bool(watch.events))

    asyncio.run(run())

    threshold = "the threshold of 500 (rises_to) on connection 'leadmagic_default'"
    assert [line for line in logged("INFO") if "Watcher" in line] == [
        f"Watcher armed: 1 spendable credits are below {threshold}.",
        f"Watcher fired: 600 spendable credits reached {threshold}.",
    ]


def test_a_hasty_interval_is_warned_about(leadmagic_sandbox: Sandbox, logged: Callable[[str], list[str]]) -> None:
    async def run() -> None:
        Watch(make())
        await looks(leadmagic_sandbox, 0)

    asyncio.run(run())

    advice = "LeadMagic asks clients to cache a balance for 1 to 5 minutes"
    assert f"poke_interval of 0.05 s is short: {advice}." in logged("WARNING")


def test_cancelling_it_leaves_no_look_under_way(leadmagic_sandbox: Sandbox) -> None:
    async def run() -> int:
        watch = Watch(make())
        await looks(leadmagic_sandbox, 1)
        watch.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watch.task
        return len(asyncio.all_tasks())

    assert asyncio.run(run()) == 1
