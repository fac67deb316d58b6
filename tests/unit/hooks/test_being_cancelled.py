"""
Tests that a trigger finishes a pending request to Airflow's supervisor although it is cancelled.

On Airflow 3.0 and 3.1 requests and responses share one pipe and are matched by their order: a response that is left
unread crashes the triggerer with all its triggers.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from airflow_provider_leadmagic.compat.deferral import finish_even_if_cancelled
from airflow_provider_leadmagic.hooks import leadmagic
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

if TYPE_CHECKING:
    from pytest_mock import MockerFixture


class PendingRequest:
    """A request that waits until the test lets its response arrive."""

    def __init__(self) -> None:
        self.sent, self.response_arrived = asyncio.Event(), asyncio.Event()
        self.is_finished = False

    async def send(self, *_: object, **__: object) -> str:
        self.sent.set()
        await self.response_arrived.wait()
        self.is_finished = True
        return "response"

    async def cancel_while_pending(self, caller: asyncio.Task[object]) -> None:
        await self.sent.wait()
        for _ in range(2):
            caller.cancel()
            await asyncio.sleep(0)
        self.response_arrived.set()
        await asyncio.wait({caller}, timeout=5)


def test_aget_conn_finishes_reading_the_connection_when_cancelled(mocker: MockerFixture) -> None:
    async def run() -> tuple[bool, bool]:
        request = PendingRequest()
        mocker.patch.object(leadmagic, "get_async_connection", request.send)
        caller = asyncio.create_task(LeadMagicHook().aget_conn())
        await request.cancel_while_pending(caller)
        return request.is_finished, caller.cancelled()

    assert asyncio.run(run()) == (True, True)


def test_cancel_message_is_preserved() -> None:
    """Airflow 3.3 uses it to distinguish a user who ended the task from a triggerer that shuts down."""

    async def run() -> tuple[object, ...]:
        request = PendingRequest()
        caller = asyncio.create_task(finish_even_if_cancelled(request.send()))
        await request.sent.wait()
        caller.cancel("ended by a user")
        await asyncio.sleep(0)
        request.response_arrived.set()
        with pytest.raises(asyncio.CancelledError) as caught:
            await caller
        return caught.value.args

    assert asyncio.run(run()) == ("ended by a user",)


def test_result_is_returned_if_nothing_is_cancelled() -> None:
    assert asyncio.run(finish_even_if_cancelled(asyncio.sleep(0, "done"))) == "done"


def test_exception_is_raised_if_nothing_is_cancelled() -> None:
    async def fail() -> None:
        raise LookupError("not found")

    with pytest.raises(LookupError, match="not found"):
        asyncio.run(finish_even_if_cancelled(fail()))


def test_cancelled_error_is_raised_even_if_the_work_failed() -> None:
    async def run() -> BaseException | None:
        request = PendingRequest()

        async def fail() -> None:
            await request.send()
            raise LookupError("not found")

        caller = asyncio.create_task(finish_even_if_cancelled(fail()))
        await request.cancel_while_pending(caller)
        with pytest.raises(asyncio.CancelledError) as caught:
            await caller
        return caught.value.__cause__

    assert isinstance(asyncio.run(run()), LookupError)
