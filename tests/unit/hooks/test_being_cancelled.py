"""
A trigger that is cancelled in the middle of a question to Airflow does not leave its answer to the next who asks.

On Airflow 3.0 and 3.1 questions and answers go through one pipe, in order: an answer that nobody takes ends the
triggerer, and with it everybody's triggers.
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


class Question:
    """A question that is under way until it is answered."""

    def __init__(self) -> None:
        self.asked, self.answered = asyncio.Event(), asyncio.Event()
        self.is_over = False

    async def ask(self, *_: object, **__: object) -> str:
        self.asked.set()
        await self.answered.wait()
        self.is_over = True
        return "answer"

    async def cancel_meanwhile(self, asker: asyncio.Task[object]) -> None:
        await self.asked.wait()
        for _ in range(2):
            asker.cancel()
            await asyncio.sleep(0)
        self.answered.set()
        await asyncio.wait({asker}, timeout=5)


def test_it_waits_for_its_connection_before_it_ends(mocker: MockerFixture) -> None:
    async def run() -> tuple[bool, bool]:
        question = Question()
        mocker.patch.object(leadmagic, "get_async_connection", question.ask)
        asker = asyncio.create_task(LeadMagicHook().aget_conn())
        await question.cancel_meanwhile(asker)
        return question.is_over, asker.cancelled()

    assert asyncio.run(run()) == (True, True)


def test_the_reason_for_being_cancelled_is_passed_on() -> None:
    """By it Airflow 3.3 tells a person who ended the task from a triggerer that ends."""

    async def run() -> tuple[object, ...]:
        question = Question()
        asker = asyncio.create_task(finish_even_if_cancelled(question.ask()))
        await question.asked.wait()
        asker.cancel("a person")
        await asyncio.sleep(0)
        question.answered.set()
        with pytest.raises(asyncio.CancelledError) as caught:
            await asker
        return caught.value.args

    assert asyncio.run(run()) == ("a person",)


def test_work_that_nobody_cancels_gives_its_result() -> None:
    assert asyncio.run(finish_even_if_cancelled(asyncio.sleep(0, "done"))) == "done"


def test_work_that_fails_says_so() -> None:
    async def fail() -> None:
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        asyncio.run(finish_even_if_cancelled(fail()))


def test_who_was_cancelled_ends_so_also_where_the_work_failed() -> None:
    async def run() -> BaseException | None:
        question = Question()

        async def fail() -> None:
            await question.ask()
            raise LookupError("nothing there")

        asker = asyncio.create_task(finish_even_if_cancelled(fail()))
        await question.cancel_meanwhile(asker)
        with pytest.raises(asyncio.CancelledError) as caught:
            await asker
        return caught.value.__cause__

    assert isinstance(asyncio.run(run()), LookupError)
