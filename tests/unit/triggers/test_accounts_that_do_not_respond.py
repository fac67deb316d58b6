"""Accounts that never respond hold up neither the triggers of other accounts nor other triggers of the process."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import pairwise
from operator import methodcaller
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.compat.deferral import StillRunningError, in_thread
from airflow_provider_leadmagic.exceptions import LeadMagicConnectionError, LeadMagicError
from airflow_provider_leadmagic.triggers import shared_poll
from airflow_provider_leadmagic.triggers.bulk import BulkJobTrigger
from airflow_provider_leadmagic.triggers.credits import SufficientCreditsTrigger
from airflow_provider_leadmagic.triggers.shared_poll import POLLS_AT_A_TIME, poll_once
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Iterable

    from pytest_mock import MockerFixture

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

ACCOUNTS = 50
JOBS = 200
INTERVAL = 1.0
POLLS = 5


@dataclass
class SilentServer:
    """
    Accepts every connection, and never responds.

    :param open_requests: For each API key, the number of requests whose client still waits.
    :param most: For each API key, the highest value that this number has had.
    """

    open_requests: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            key = re.search(rb"(?i)\nx-api-key: (\S+)", head)
            assert key
            account = key[1].decode()
            self.open_requests[account] += 1
            self.most[account] = max(self.most[account], self.open_requests[account])
            await reader.read()  # until the client gives up
            self.open_requests[account] -= 1
        writer.close()


@asynccontextmanager
async def silent_accounts(monkeypatch: pytest.MonkeyPatch, number: int, timeout: float) -> AsyncGenerator[SilentServer]:
    """Define the connections ``silent_0``, ``silent_1``, ... whose requests time out after some seconds."""
    silent = SilentServer()
    server = await asyncio.start_server(silent.handle, "127.0.0.1", 0, backlog=1000)
    port = server.sockets[0].getsockname()[1]
    for account in range(number):
        connection = {"conn_type": "leadmagic", "host": f"http://127.0.0.1:{port}", "extra": {"timeout": timeout}}
        connection["password"] = f"key-{account}"
        monkeypatch.setenv(f"AIRFLOW_CONN_SILENT_{account}", json.dumps(connection))
    try:
        yield silent
    finally:
        server.close()


async def run_trigger(trigger: Any) -> None:
    async for _ in trigger.run():
        pass


@asynccontextmanager
async def running(triggers: Iterable[Any]) -> AsyncGenerator[None]:
    """Run triggers, and cancel them at the end."""
    tasks = [asyncio.create_task(run_trigger(trigger)) for trigger in triggers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def longest_wait_for_a_thread(seconds: float) -> float:
    """Call ``asyncio.to_thread`` repeatedly, like another provider's trigger, and return the longest wait."""
    waits, end = [], time.monotonic() + seconds
    while (start := time.monotonic()) < end:
        await asyncio.to_thread(int)
        waits.append(time.monotonic() - start)
        await asyncio.sleep(0.02)
    return max(waits)


def triggers_of_silent_accounts(interval: float) -> list[Any]:
    jobs = [BulkJobTrigger("silent_0", f"job-{number}", interval, time.time() + 3600) for number in range(JOBS)]
    return [*jobs, *(SufficientCreditsTrigger(f"silent_{number}", "5", interval) for number in range(ACCOUNTS))]


@pytest.mark.e2e
def test_fifty_silent_accounts_and_two_hundred_jobs_on_one_of_them_hold_up_nobody_else(
    leadmagic_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    leadmagic_sandbox.set_credits(1)
    good = SufficientCreditsTrigger("leadmagic_default", "5", INTERVAL)

    async def run() -> tuple[float, Counter[str]]:
        async with silent_accounts(monkeypatch, ACCOUNTS, timeout=2) as server:
            async with running([*triggers_of_silent_accounts(INTERVAL), good]):
                waited = await longest_wait_for_a_thread(POLLS * 1.1 * INTERVAL)
                await until(lambda: len(leadmagic_sandbox.requests) >= POLLS, POLLS * INTERVAL)
                ended.append(time.monotonic())
            return waited, server.most

    ended: list[float] = []
    waited, open_requests = asyncio.run(run())

    # On an idle machine, these three times are 0.02 s, 0.1 s and 1.1 intervals. If the polls did not run in threads of
    # their own, each would be minutes.
    assert time.monotonic() - ended[0] < 1.5  # the event loop ends without waiting for open requests
    assert waited < 1
    gaps = [later.at - earlier.at for earlier, later in pairwise(leadmagic_sandbox.requests)]
    assert max(gaps) < 3 * INTERVAL
    assert len(open_requests) == ACCOUNTS
    assert max(open_requests.values()) == POLLS_AT_A_TIME


def test_bulk_jobs_on_a_slow_account_delay_its_balance_by_two_polls_at_most(
    leadmagic_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    leadmagic_sandbox.fail_next("/bulk/jobs/*", delay=0.2, status=503, times=None)

    async def run() -> None:
        jobs = [BulkJobTrigger("leadmagic_default", f"job-{number}", 60, time.time() + 3600) for number in range(40)]
        monkeypatch.setattr(shared_poll, "_jitter", lambda _: 0.0)
        async with running(jobs):
            await until(lambda: bool(leadmagic_sandbox.requests_to("/bulk/jobs/*")))
            await shared_poll.latest_reading("leadmagic_default", 60, refresh=False)

    asyncio.run(run())

    paths = [request.path for request in leadmagic_sandbox.requests]
    assert paths.index("/v1/credits") <= 2 * POLLS_AT_A_TIME + 1


def test_of_the_triggers_of_a_connection_two_poll_at_a_time_and_a_cancelled_one_leaves_the_queue_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> float:
        async with silent_accounts(monkeypatch, 1, timeout=1) as server:
            polls = [asyncio.create_task(poll_once("silent_0", methodcaller("get_credits"))) for _ in range(4)]
            await until(lambda: server.open_requests["key-0"] == 2)
            start = time.monotonic()
            for poll in polls:
                poll.cancel()
            await asyncio.wait(polls)
            waited = time.monotonic() - start
            with pytest.raises(LeadMagicError, match=r"^No response within 1 s"):
                await poll_once("silent_0", methodcaller("get_credits"))
            assert server.most["key-0"] == 2  # a request that was left running kept its slot
            return waited

    assert asyncio.run(run()) < 0.5


def test_a_lookup_may_take_60_s_and_as_long_again_for_each_earlier_one_that_still_hangs(mocker: MockerFixture) -> None:
    async def give_up_at_once(call: Coroutine[Any, Any, Any], limit: float | None = None) -> Any:
        task = asyncio.create_task(call)
        if limit is None:
            return await task
        await until(lambda: hook.call_count == len(lookups) + 1)
        lookups.append(task)
        raise StillRunningError

    async def poll_until(limit: int) -> None:
        with pytest.raises(LeadMagicConnectionError, match=rf"no response from Airflow within {limit} s") as raised:
            await poll_once("leadmagic_default", methodcaller("get_credits"))
        assert not raised.value.request_sent

    async def run() -> None:
        for limit in (60, 120, 180):
            await poll_until(limit)
        for lookup in lookups:
            lookup.cancel()
        await asyncio.wait(lookups)
        await poll_until(60)

    lookups: list[asyncio.Task[Any]] = []
    hook = mocker.patch.object(shared_poll.LeadMagicHook, "aget_conn", side_effect=asyncio.Event().wait)
    mocker.patch.object(shared_poll, "leave_running_if_cancelled", give_up_at_once)

    asyncio.run(run())


def test_a_process_that_ends_does_not_wait_for_requests() -> None:
    """Python waits for the threads of ``asyncio.to_thread`` and of thread pools."""
    program = """
import asyncio, time
from airflow_provider_leadmagic.compat.deferral import in_thread, leave_running_if_cancelled

async def run():
    request = asyncio.create_task(leave_running_if_cancelled(in_thread(time.sleep, 60)))
    await asyncio.sleep(0.2)
    request.cancel()

asyncio.run(run())
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=30, capture_output=True, text=True, check=True)

    assert done.stderr == ""


def test_a_call_in_a_thread_sees_the_context_of_its_trigger() -> None:
    """Airflow finds the log of a trigger by context variables."""
    variable: ContextVar[str] = ContextVar("variable")

    async def run() -> str:
        variable.set("of the trigger")
        return await in_thread(variable.get)

    assert asyncio.run(run()) == "of the trigger"
