"""The trigger of a deferred sensor: its stored arguments, its polling schedule, and its shared polls."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from airflow.models.trigger import Trigger

from airflow_provider_leadmagic.api.models import CreditBalance
from airflow_provider_leadmagic.triggers import shared_poll
from airflow_provider_leadmagic.triggers.credits import SufficientCreditsTrigger
from airflow_provider_leadmagic.triggers.shared_poll import Reading, poll_balance
from dev.local_airflow import IS_AIRFLOW_3
from tests.support.trigger_runner import sleeps_at
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from pytest_mock import MockerFixture

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

ARGUMENTS: dict[str, Any] = {
    "leadmagic_conn_id": "leadmagic_default",
    "minimum_credits": "100.05",
    "poke_interval": 0.1,
    "refresh": True,
    "not_before": 1.5,
    "waiting_since": 0.5,
}


def make(**changes: Any) -> SufficientCreditsTrigger:
    defaults = {"refresh": False, "not_before": 0.0, "waiting_since": 0.0}
    return SufficientCreditsTrigger(**{**ARGUMENTS, **defaults, **changes})


def reading(credits: int = 1000) -> Reading:
    return Reading(time.monotonic(), False, CreditBalance(Decimal(credits), datetime.now(UTC)))


async def stream_of(*readings: Reading) -> AsyncIterator[Reading]:
    for each in readings:
        yield each


async def event_of(trigger: SufficientCreditsTrigger, patience: float = 10) -> dict[str, Any]:
    async with asyncio.timeout(patience), aclosing(trigger.run()) as events:
        async for event in events:
            return event.payload
    raise AssertionError("the trigger ended without an event")


def test_airflow_stores_and_restores_its_arguments() -> None:
    classpath, kwargs = SufficientCreditsTrigger(**ARGUMENTS).serialize()

    stored = Trigger(classpath=classpath, kwargs=kwargs)

    assert stored.kwargs == kwargs == ARGUMENTS
    assert classpath == "airflow_provider_leadmagic.triggers.credits.SufficientCreditsTrigger"


def test_by_default_it_polls_at_once_and_without_refresh() -> None:
    _, kwargs = SufficientCreditsTrigger("leadmagic_default", "100.05", 0.1).serialize()

    assert kwargs == {**ARGUMENTS, "refresh": False, "not_before": 0.0, "waiting_since": 0.0}


def test_in_a_test_of_the_dag_it_has_neither_an_id_nor_a_task_instance() -> None:
    trigger = make()

    assert trigger.trigger_id is None
    assert trigger.task_instance is None


def test_it_fires_once(leadmagic_sandbox: Sandbox) -> None:
    async def run() -> int:
        return len([event async for event in make().filter_shared_stream(stream_of(reading(), reading()))])

    assert asyncio.run(run()) == 1


@pytest.mark.parametrize(
    ("interval", "waiting_since", "sleeps"),
    [
        pytest.param(300.0, 0.0, 0.0, id="no poll yet"),
        pytest.param(300.0, 997.0, 2.0, id="deferred three seconds ago"),
        pytest.param(300.0, 1000.0, 5.0, id="just deferred"),
        pytest.param(300.0, 2000.0, 5.0, id="the worker's clock is fast"),
        pytest.param(1.5, 1000.0, 1.5, id="a short interval"),
    ],
)
def test_joining_a_poll_does_not_resume_the_task_before_airflow_knows_that_the_task_process_ended(
    mocker: MockerFixture, interval: float, waiting_since: float, sleeps: float
) -> None:
    slept = sleeps_at(1000.0, mocker)

    async def run() -> None:
        trigger = make(poke_interval=interval, waiting_since=waiting_since)
        async for _ in trigger.filter_shared_stream(stream_of(reading())):
            pass

    asyncio.run(run())

    assert slept == [sleeps]


def test_a_reading_that_became_old_while_the_task_could_not_resume_is_renewed(leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.set_credits(1)
    old = Reading(time.monotonic() - 4.8, False, CreditBalance(Decimal(1000), datetime.now(UTC)))

    async def run() -> int:
        trigger = make(poke_interval=0.4, waiting_since=time.time())
        return len([event async for event in trigger.filter_shared_stream(stream_of(old))])

    assert asyncio.run(run()) == 0


def test_its_event_is_plain_json(leadmagic_sandbox: Sandbox) -> None:
    event = asyncio.run(event_of(make()))

    assert json.loads(json.dumps(event)) == event
    assert event["balance"]["credits"] == "1000"


@pytest.mark.parametrize(
    ("changes", "is_shared"),
    [
        ({"minimum_credits": "5"}, True),
        ({"waiting_since": 99.0}, True),
        ({"not_before": 99.0}, False),
        ({"leadmagic_conn_id": "other"}, False),
        ({"poke_interval": 60.0}, False),
        ({"refresh": True}, False),
    ],
    ids=str,
)
def test_triggers_with_the_same_connection_and_interval_share_a_poll(changes: dict[str, Any], is_shared: bool) -> None:
    assert (make().shared_stream_key() == make(**changes).shared_stream_key()) is is_shared


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="Airflow 2 has no triggerer queues")
def test_it_can_run_on_a_named_triggerer_queue_like_any_trigger_of_a_task() -> None:
    assert SufficientCreditsTrigger.supports_triggerer_queue is True


@pytest.mark.parametrize(("not_before", "sleeps"), [(1042.0, 42.0), (999.0, 8.0), (1e12, 86_400.0)])
def test_it_does_not_poll_before_the_given_time(
    leadmagic_sandbox: Sandbox, mocker: MockerFixture, not_before: float, sleeps: float
) -> None:
    assert sleep_before_the_first_poll(mocker, not_before=not_before, waiting_since=1000.0) == sleeps


@pytest.mark.parametrize(
    ("waiting_since", "sleeps"),
    [
        pytest.param(0.0, 0.0, id="no poll yet"),
        pytest.param(1000.0, 8.0, id="just deferred"),
        pytest.param(995.0, 3.0, id="restarted within the interval"),
        pytest.param(500.0, 0.0, id="restarted after the interval"),
        pytest.param(2000.0, 8.0, id="the worker's clock is fast"),
    ],
)
def test_a_restart_does_not_reset_the_polling_schedule(
    leadmagic_sandbox: Sandbox, mocker: MockerFixture, waiting_since: float, sleeps: float
) -> None:
    assert sleep_before_the_first_poll(mocker, waiting_since=waiting_since) == sleeps


def sleep_before_the_first_poll(mocker: MockerFixture, **changes: float) -> float:
    """Run a trigger with an interval of 8 s at Unix time 1000, and return its sleep before the first poll."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    # The modules themselves are not patched because the sandbox runs in this process and needs them.
    mocker.patch.object(shared_poll, "asyncio", mocker.Mock(wraps=asyncio, sleep=sleep))
    mocker.patch.object(shared_poll, "time", mocker.Mock(wraps=time, time=lambda: 1000.0))
    mocker.patch.object(shared_poll, "_jitter", return_value=0.0)

    asyncio.run(event_of(make(poke_interval=8.0, **changes)))

    [before_the_only_poll, _] = slept  # the second sleep lets other triggers run
    return before_the_only_poll


def polls_every(interval: float) -> AsyncGenerator[Reading, None]:
    return poll_balance("leadmagic_default", interval, refresh=False, not_before=0.0, waiting_since=0.0)


def test_one_hundred_triggers_in_one_event_loop_send_at_most_two_requests_per_interval(
    leadmagic_sandbox: Sandbox,
) -> None:
    leadmagic_sandbox.set_credits(1)
    interval, intervals = 0.25, 4

    async def run() -> list[dict[str, Any]]:
        tasks = [asyncio.create_task(event_of(make(poke_interval=interval), 60)) for _ in range(100)]
        await asyncio.sleep(intervals * interval)
        requests_while_waiting.append(len(leadmagic_sandbox.requests))
        leadmagic_sandbox.add_credits(1000)
        return await asyncio.gather(*tasks)

    requests_while_waiting: list[int] = []
    events = asyncio.run(run())

    assert 1 <= requests_while_waiting[0] <= intervals * 2
    assert {event["status"] for event in events} == {"open"}


def test_one_hundred_triggers_also_share_a_failed_poll(leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.fail_next("/v1/credits", status=500, times=2)

    async def run() -> list[dict[str, Any]]:
        return await asyncio.gather(*(event_of(make(poke_interval=1)) for _ in range(100)))

    assert {event["status"] for event in asyncio.run(run())} == {"open"}
    assert len(leadmagic_sandbox.requests) <= 4


def test_retry_after_applies_to_all_triggers_of_the_process(leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.fail_next("/v1/credits", status=429, retry_after="1")

    async def run() -> None:
        await asyncio.gather(*(event_of(make(poke_interval=interval)) for interval in (0.05, 0.1, 0.2)))

    asyncio.run(run())

    first, second = (request.at for request in leadmagic_sandbox.requests[:2])
    assert second - first >= 1


def test_a_corrected_key_is_used_by_the_next_poll(leadmagic_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[str]:
        readings = polls_every(0.05)
        async with aclosing(readings):
            first = await anext(readings)
            monkeypatch.setenv("AIRFLOW_CONN_LEADMAGIC_DEFAULT", corrected)
            second = await anext(readings)
        return [type(first.error).__name__, type(second.error).__name__]

    corrected = leadmagic_sandbox.connection_json
    invalid = corrected.replace(leadmagic_sandbox.api_key, "an-invalid-key")
    monkeypatch.setenv("AIRFLOW_CONN_LEADMAGIC_DEFAULT", invalid)

    assert asyncio.run(run()) == ["LeadMagicAuthenticationError", "NoneType"]


def test_an_old_reading_is_renewed_before_the_trigger_fires(leadmagic_sandbox: Sandbox, mocker: MockerFixture) -> None:
    mocker.patch.object(shared_poll, "MAX_AGE_TO_SUCCEED", 0.1)

    async def run() -> dict[str, Any]:
        task = asyncio.create_task(event_of(make(poke_interval=1, waiting_since=time.time())))
        await asyncio.sleep(0.5)
        await shared_poll.latest_reading("leadmagic_default", 60, refresh=False)
        leadmagic_sandbox.set_credits(1)  # spent by another client between that poll and the trigger's
        await until(lambda: len(leadmagic_sandbox.requests) == 2)
        leadmagic_sandbox.set_credits(700)
        return await task

    assert asyncio.run(run())["balance"]["credits"] == "700"


@pytest.mark.parametrize(("age", "polls"), [(5.0, 0), (5.01, 1)])
def test_a_reading_of_at_most_five_seconds_is_not_renewed(
    leadmagic_sandbox: Sandbox, mocker: MockerFixture, age: float, polls: int
) -> None:
    mocker.patch.object(Reading, "age", age)

    async def run() -> None:
        async for _ in make().filter_shared_stream(stream_of(reading())):
            pass

    asyncio.run(run())

    assert len(leadmagic_sandbox.requests) == polls


@pytest.mark.parametrize(("age", "polls"), [(8.9, 1), (9.0, 2)])
def test_a_reading_is_reused_for_nine_tenths_of_the_interval(
    leadmagic_sandbox: Sandbox, mocker: MockerFixture, age: float, polls: int
) -> None:
    mocker.patch.object(Reading, "age", age)

    async def run() -> None:
        for _ in range(2):
            await shared_poll.latest_reading("leadmagic_default", 10.0, refresh=False)

    asyncio.run(run())

    assert len(leadmagic_sandbox.requests) == polls


def test_a_reading_is_due_after_the_interval_and_at_once_if_it_is_overdue(mocker: MockerFixture) -> None:
    mocker.patch.object(Reading, "age", 60.0)

    assert [reading().due_in(interval) for interval in (100.0, 60.0, 30.0)] == [40.0, 0.0, 0.0]


def test_retry_after_applies_to_triggers_with_and_without_refresh(leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.fail_next("/v1/credits", status=429, retry_after="0.8")

    async def run() -> None:
        plain, refreshing = make(poke_interval=0.05), make(poke_interval=0.2, refresh=True, waiting_since=time.time())
        await asyncio.gather(event_of(plain), event_of(refreshing))

    asyncio.run(run())

    first, second = (request.at for request in leadmagic_sandbox.requests[:2])
    assert second - first >= 0.8


@pytest.mark.parametrize(
    ("first_refreshes", "then_refreshes", "requests"),
    [
        (False, True, ["/v1/credits", "/v1/credits/refresh", "/v1/credits"]),
        (True, True, ["/v1/credits/refresh", "/v1/credits"]),
        (True, False, ["/v1/credits/refresh", "/v1/credits"]),
        (False, False, ["/v1/credits"]),
    ],
)
def test_a_trigger_with_refresh_reuses_only_readings_that_were_refreshed(
    leadmagic_sandbox: Sandbox, first_refreshes: bool, then_refreshes: bool, requests: list[str]
) -> None:
    async def run() -> None:
        await shared_poll.latest_reading("leadmagic_default", 60, refresh=first_refreshes)
        await shared_poll.latest_reading("leadmagic_default", 60, refresh=then_refreshes)

    asyncio.run(run())

    assert [request.path for request in leadmagic_sandbox.requests] == requests


def test_a_retry_after_applies_until_the_next_good_reading(leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.fail_next("/v1/credits", status=429, retry_after="0.3")

    async def run() -> list[float]:
        readings = polls_every(0.05)
        async with aclosing(readings):
            return [(await anext(readings)).due_in(0.05) for _ in range(2)]

    after_429, after_a_good_reading = asyncio.run(run())

    assert 0.2 < after_429 <= 0.3
    assert after_a_good_reading <= 0.05


@pytest.mark.parametrize(("interval", "longest"), [(5.0, 0.5), (60.0, 2.0), (3600.0, 2.0)])
@pytest.mark.parametrize(
    "wait",
    [
        lambda interval: shared_poll.first_wait(interval, 0.0, 0.0),
        lambda interval: shared_poll.first_wait(interval, 0.0, time.time() + 100) - 100,
        lambda interval: shared_poll.next_wait(interval, interval) - interval,
    ],
    ids=["overdue", "after Retry-After", "next poll"],
)
def test_every_wait_has_a_random_part(wait: Callable[[float], float], interval: float, longest: float) -> None:
    parts = [wait(interval) for _ in range(50)]

    assert len({round(part, 3) for part in parts}) > 10
    assert -0.1 < min(parts) < longest / 4
    assert longest * 3 / 4 < max(parts) <= longest


@pytest.mark.parametrize(("interval", "longest"), [(5.0, 0.5), (19.0, 1.9), (60.0, 2.0)])
def test_the_random_part_is_at_most_a_tenth_of_the_interval_and_two_seconds(
    mocker: MockerFixture, interval: float, longest: float
) -> None:
    mocker.patch.object(shared_poll.random, "uniform", side_effect=max)

    assert shared_poll.next_wait(interval, 100.0) == 100.0 + longest


def test_an_overdue_poll_waits_for_a_moment_so_that_no_loop_is_busy(mocker: MockerFixture) -> None:
    mocker.patch.object(shared_poll, "_jitter", return_value=0.0)

    assert shared_poll.next_wait(0.0, 0.0) == 0.01


def test_closing_a_trigger_closes_its_poll_at_once(leadmagic_sandbox: Sandbox, mocker: MockerFixture) -> None:
    closed: list[str] = []

    async def poll(*_: object, **__: object) -> AsyncIterator[Reading]:
        try:
            yield reading()
        finally:
            closed.append("poll")

    async def run() -> list[str]:
        mocker.patch.object(shared_poll, "poll_balance", poll)
        kept = trigger.open_shared_stream(trigger.serialize()[1])
        await anext(kept)
        await kept.aclose()  # type: ignore[attr-defined]
        events = trigger.run()
        await anext(events)
        await events.aclose()
        return list(closed)  # before asyncio closes what was forgotten

    trigger = make()
    assert asyncio.run(run()) == ["poll", "poll"]


def test_an_unexpected_exception_fails_the_task_and_not_the_shared_poll(
    leadmagic_sandbox: Sandbox, mocker: MockerFixture
) -> None:
    mocker.patch("airflow_provider_leadmagic.client.LeadMagicClient.get_credits", side_effect=RuntimeError("a bug"))

    event = asyncio.run(event_of(make(poke_interval=0.05)))

    assert (event["error"], event["message"]) == (
        "LeadMagicError",
        "Balance poll failed unexpectedly (RuntimeError): see the traceback in the triggerer log.",
    )


def test_cancelling_a_trigger_during_a_request_closes_its_client(
    leadmagic_sandbox: Sandbox, mocker: MockerFixture
) -> None:
    close = mocker.patch("airflow_provider_leadmagic.client.LeadMagicClient.close", autospec=True)
    leadmagic_sandbox.fail_next("/v1/credits", delay=0.5)

    async def run() -> None:
        task = asyncio.create_task(event_of(make(poke_interval=0.01)))
        await until(lambda: bool(leadmagic_sandbox.requests))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())

    assert close.call_count == 1


def test_a_cancelled_trigger_does_not_stop_the_others(leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.set_credits(1)

    async def run() -> dict[str, Any]:
        first, second = (asyncio.create_task(event_of(make(poke_interval=0.1))) for _ in range(2))
        await until(lambda: len(leadmagic_sandbox.requests) >= 1)
        first.cancel()
        leadmagic_sandbox.add_credits(1000)
        return await second

    assert asyncio.run(run())["status"] == "open"


def test_other_triggers_can_run_between_the_evaluations_of_triggers_that_share_a_reading() -> None:
    fired = asyncio.run(fired_triggers_at_each_loop_iteration(triggers=50))

    assert fired[-1] == 50
    assert max(after - before for before, after in pairwise(fired)) == 1


async def fired_triggers_at_each_loop_iteration(triggers: int) -> list[int]:
    polled, events, counts = asyncio.Event(), [], []

    async def readings() -> AsyncIterator[Reading]:
        await polled.wait()
        yield reading()

    async def wait_for_event(trigger: SufficientCreditsTrigger) -> None:
        async for event in trigger.filter_shared_stream(readings()):
            events.append(event)

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for _ in range(triggers):
            group.create_task(wait_for_event(make()))
        await asyncio.sleep(0)
        polled.set()
        while len(events) < triggers:
            counts.append(len(events))
            await asyncio.sleep(0)
    return [*counts, len(events)]
