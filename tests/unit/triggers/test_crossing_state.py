"""The state of a watcher, in memory and in Airflow's asset state store."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from airflow_provider_leadmagic.triggers.credits import CrossingState


class Store:
    """Replaces Airflow's asset state store, and can fail on request."""

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


def test_the_state_is_unknown_at_first() -> None:
    assert asyncio.run(CrossingState(Store(), "key").read()) is None


@pytest.mark.parametrize("store", [None, Store()], ids=["in memory", "in a store"])
def test_a_written_state_can_be_read(store: Store | None) -> None:
    async def run() -> list[bool | None]:
        state, read = CrossingState(store, "key"), []
        for armed in (True, False):
            await state.write(armed)
            read.append(await state.read())
        return read

    assert asyncio.run(run()) == [True, False]


@pytest.mark.parametrize("armed", [True, False])
def test_another_triggerer_reads_the_state_from_the_store(armed: bool) -> None:
    store = Store()

    async def run() -> bool | None:
        await CrossingState(store, "key").write(armed)
        return await CrossingState(store, "key").read()

    assert asyncio.run(run()) is armed


def test_another_watcher_of_the_asset_has_its_own_state() -> None:
    store = Store()

    async def run() -> bool | None:
        await CrossingState(store, "key").write(True)
        return await CrossingState(store, "other key").read()

    assert asyncio.run(run()) is None


@pytest.mark.parametrize("value", ["yes", 1, True, {"armed": True}], ids=str)
def test_an_unexpected_value_counts_as_unknown(value: Any) -> None:
    assert asyncio.run(CrossingState(Store(key=value), "key").read()) is None


def test_the_store_is_written_only_on_a_change() -> None:
    store = Store()

    async def run() -> None:
        state = CrossingState(store, "key")
        for armed in (True, True, False, False, True):
            await state.read()
            await state.write(armed)

    asyncio.run(run())

    assert store.writes == ["armed", "disarmed", "armed"]


def test_an_unchanged_state_is_not_written_again() -> None:
    store = Store(key="armed")

    async def run() -> None:
        state = CrossingState(store, "key")
        await state.read()
        await state.write(True)

    asyncio.run(run())

    assert store.writes == []


def test_the_state_is_unchanged_if_the_store_cannot_be_written() -> None:
    store = Store(key="armed")

    async def run() -> bool | None:
        state = CrossingState(store, "key")
        await state.read()
        store.failure = RuntimeError("the API server is unavailable")
        with pytest.raises(RuntimeError):
            await state.write(False)
        return await state.read()

    assert asyncio.run(run()) is True


@pytest.mark.parametrize("failure", [RuntimeError("unavailable"), json.JSONDecodeError("no JSON", "", 0)], ids=repr)
def test_a_store_that_cannot_be_read_is_read_again(failure: Exception) -> None:
    store = Store(key="armed")
    state = CrossingState(store, "key")
    store.failure = failure
    with pytest.raises(type(failure)):
        asyncio.run(state.read())

    store.failure = None

    assert asyncio.run(state.read()) is True


def test_a_watcher_of_several_assets_keeps_its_state_in_memory(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.failure = ValueError("Task has 2 concrete inlets and outlets")

    async def run() -> list[bool | None]:
        state = CrossingState(store, "key")
        before = await state.read()
        await state.write(True)
        return [before, await state.read()]

    assert asyncio.run(run()) == [None, True]
    assert "Two assets have equal LeadMagic watchers: set different thresholds" in caplog.text
