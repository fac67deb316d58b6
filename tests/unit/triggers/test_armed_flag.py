"""What a watcher remembers, and where."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from airflow_provider_leadmagic.triggers.credits import CrossingState


class Store:
    """Stands in for Airflow's store, whose failures cannot be had otherwise."""

    def __init__(self, **saved: Any) -> None:
        self.saved = saved
        self.reads = 0
        self.writes: list[Any] = []
        self.failure: Exception | None = None

    async def aget(self, key: str) -> Any:
        if self.failure:
            raise self.failure
        self.reads += 1
        return self.saved.get(key)

    async def aset(self, key: str, value: Any) -> None:
        if self.failure:
            raise self.failure
        self.writes.append(value)
        self.saved[key] = value


def test_nothing_is_known_at_first() -> None:
    assert asyncio.run(CrossingState(Store(), "key").read()) is None


@pytest.mark.parametrize("store", [None, Store()], ids=["in memory", "in a store"])
def test_it_reads_what_it_wrote(store: Store | None) -> None:
    async def run() -> list[bool | None]:
        flag, read = CrossingState(store, "key"), []
        for armed in (True, False):
            await flag.write(armed)
            read.append(await flag.read())
        return read

    assert asyncio.run(run()) == [True, False]


@pytest.mark.parametrize("armed", [True, False])
def test_another_triggerer_reads_it_from_the_store(armed: bool) -> None:
    store = Store()

    async def run() -> bool | None:
        await CrossingState(store, "key").write(armed)
        return await CrossingState(store, "key").read()

    assert asyncio.run(run()) is armed


def test_another_watcher_of_the_asset_has_a_flag_of_its_own() -> None:
    store = Store()

    async def run() -> bool | None:
        await CrossingState(store, "key").write(True)
        return await CrossingState(store, "other key").read()

    assert asyncio.run(run()) is None


@pytest.mark.parametrize("strange", ["yes", 1, True, {"armed": True}], ids=str)
def test_a_value_that_is_none_of_ours_counts_as_unknown(strange: Any) -> None:
    assert asyncio.run(CrossingState(Store(key=strange), "key").read()) is None


def test_the_store_is_written_only_when_something_changed() -> None:
    store = Store()

    async def run() -> None:
        flag = CrossingState(store, "key")
        for armed in (True, True, False, False, True):
            await flag.read()
            await flag.write(armed)

    asyncio.run(run())

    assert store.writes == ["armed", "disarmed", "armed"]


def test_what_was_read_is_not_written_again() -> None:
    store = Store(key="armed")

    async def run() -> None:
        flag = CrossingState(store, "key")
        await flag.read()
        await flag.write(True)

    asyncio.run(run())

    assert store.writes == []


def test_what_the_store_did_not_take_has_not_changed() -> None:
    store = Store(key="armed")

    async def run() -> bool | None:
        flag = CrossingState(store, "key")
        await flag.read()
        store.failure = RuntimeError("the API server is away")
        with pytest.raises(RuntimeError):
            await flag.write(False)
        return await flag.read()

    assert asyncio.run(run()) is True


@pytest.mark.parametrize("failure", [RuntimeError("away"), json.JSONDecodeError("no JSON", "", 0)], ids=repr)
def test_a_store_that_cannot_be_read_is_asked_again(failure: Exception) -> None:
    store = Store(key="armed")
    flag = CrossingState(store, "key")
    store.failure = failure
    with pytest.raises(type(failure)):
        asyncio.run(flag.read())

    store.failure = None

    assert asyncio.run(flag.read()) is True


def test_a_store_of_several_assets_is_done_without(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.failure = ValueError("Task has 2 concrete inlets and outlets")

    async def run() -> list[bool | None]:
        flag = CrossingState(store, "key")
        before = await flag.read()
        await flag.write(True)
        return [before, await flag.read()]

    assert asyncio.run(run()) == [None, True]
    assert "Two assets have equal LeadMagic watchers: their state is lost when the triggerer restarts." in caplog.text
