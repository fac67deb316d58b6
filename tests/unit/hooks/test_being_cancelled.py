"""
Tests that a cancelled trigger ends at once, while its pending request to Airflow's supervisor continues.

On Airflow 3.0 and 3.1 requests and responses share one pipe and are matched by their order: a response that is left
unread crashes the triggerer with all its triggers.
"""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from airflow.secrets import BaseSecretsBackend
from asgiref.sync import sync_to_async

from airflow_provider_leadmagic.compat.deferral import finish_even_if_cancelled, leave_running_if_cancelled
from airflow_provider_leadmagic.hooks import leadmagic
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from airflow_provider_leadmagic.triggers import shared_poll
from airflow_provider_leadmagic.triggers.bulk import BulkJobTrigger, PausedBulkJobTrigger
from airflow_provider_leadmagic.triggers.claims import ClaimedCreditsTrigger
from airflow_provider_leadmagic.triggers.credits import CreditsCrossingTrigger, SufficientCreditsTrigger
from tests.support.sensor_runner import first_event
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_mock import MockerFixture

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox


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


def test_a_cancelled_aget_conn_ends_at_once_and_leaves_its_request_running(mocker: MockerFixture) -> None:
    async def run() -> tuple[bool, bool]:
        request = PendingRequest()
        mocker.patch.object(leadmagic, "get_async_connection", request.send)
        caller = asyncio.create_task(LeadMagicHook().aget_conn())
        await request.sent.wait()
        caller.cancel()
        await asyncio.wait({caller}, timeout=5)
        was_finished = request.is_finished
        request.response_arrived.set()
        await until(lambda: request.is_finished)
        return was_finished, caller.cancelled()

    assert asyncio.run(run()) == (False, True)


def test_a_request_that_fails_after_its_caller_was_cancelled_is_not_reported(
    mocker: MockerFixture, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(request: PendingRequest) -> None:
        await request.send()
        raise LookupError("not found")

    async def run() -> None:
        request = PendingRequest()
        caller = asyncio.create_task(leave_running_if_cancelled(fail(request)))
        await request.cancel_while_pending(caller)
        await until(lambda: request.is_finished)

    asyncio.run(run())
    gc.collect()

    assert caplog.text == ""


class HangingBackend(BaseSecretsBackend):
    """A secrets backend that does not respond to the first requests for the connection ``unreachable``."""

    released: ClassVar[threading.Event]
    requests: ClassVar[list[str]]
    unanswered: ClassVar[float]

    def get_connection(self, conn_id: str) -> None:
        if conn_id == "unreachable":
            self.requests.append(conn_id)
            if len(self.requests) <= self.unanswered:
                self.released.wait(30)


@pytest.fixture
def hanging_backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[HangingBackend]]:
    HangingBackend.released, HangingBackend.requests = threading.Event(), []
    HangingBackend.unanswered = math.inf
    for option in ("AIRFLOW__SECRETS__BACKEND", "AIRFLOW__WORKERS__SECRETS_BACKEND"):
        monkeypatch.setenv(option, f"{__name__}.HangingBackend")
    yield HangingBackend
    HangingBackend.released.set()


@pytest.mark.parametrize(
    "trigger",
    [
        SufficientCreditsTrigger("unreachable", "5", 60),
        BulkJobTrigger("unreachable", "job-1", 60, 1e12),
        PausedBulkJobTrigger("unreachable", "5", 60, job_id="job-1", deadline=1e12),
        ClaimedCreditsTrigger("unreachable", "5", 60, "leadmagic", ["dag", "run", "task", -1]),
        CreditsCrossingTrigger("falls_below", "5", leadmagic_conn_id="unreachable", poke_interval=60),
    ],
    ids=lambda trigger: type(trigger).__name__,
)
def test_a_trigger_is_cancelled_at_once_while_the_secrets_backend_hangs(
    hanging_backend: type[HangingBackend], trigger: Any, mocker: MockerFixture
) -> None:
    mocker.patch.object(shared_poll, "_jitter", return_value=0.0)

    async def run() -> float:
        waiting = asyncio.create_task(first_event(trigger))
        await until(lambda: bool(hanging_backend.requests))
        start = time.monotonic()
        waiting.cancel()
        await asyncio.wait({waiting})
        return time.monotonic() - start

    start = time.monotonic()
    assert asyncio.run(run()) < 1
    assert time.monotonic() - start < 4  # the event loop does not wait for the thread either


@pytest.mark.parametrize("jobs", [0, 2])
def test_lookups_that_hang_are_failed_polls_and_do_not_keep_the_slots_of_the_connection(
    hanging_backend: type[HangingBackend],
    leadmagic_sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    logged: Callable[[], str],
    jobs: int,
) -> None:
    monkeypatch.setattr(shared_poll, "LOOKUP_TIMEOUT", 0.2)
    monkeypatch.setenv("AIRFLOW_CONN_UNREACHABLE", leadmagic_sandbox.connection_json)
    hanging_backend.unanswered = shared_poll.POLLS_AT_A_TIME

    async def run() -> dict[str, Any]:
        jobs_first = [BulkJobTrigger("unreachable", f"job-{number}", 60, 1e12) for number in range(jobs)]
        waiting = [asyncio.create_task(first_event(trigger)) for trigger in jobs_first]
        await until(lambda: len(hanging_backend.requests) == jobs)
        event = await asyncio.wait_for(first_event(SufficientCreditsTrigger("unreachable", "5", 0.05)), 20)
        for job in waiting:
            job.cancel()
        return event

    assert asyncio.run(run())["status"] == "open"
    assert "Connection 'unreachable' cannot be read (no response from Airflow within 0." in logged()


def test_a_secrets_backend_that_hangs_for_one_connection_does_not_hold_up_other_lookups(
    hanging_backend: type[HangingBackend], leadmagic_sandbox: Sandbox
) -> None:
    async def run() -> float:
        waiting = asyncio.create_task(LeadMagicHook("unreachable").aget_conn())
        await until(lambda: bool(hanging_backend.requests))
        start = time.monotonic()
        await LeadMagicHook("leadmagic_default").aget_conn()
        await sync_to_async(int)()  # how other providers and Airflow read connections
        await asyncio.to_thread(int)
        waiting.cancel()
        return time.monotonic() - start

    assert asyncio.run(run()) < 2


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
