"""The trigger of a task that claims credits: when it wakes the task, and how often it polls LeadMagic and Airflow."""

from __future__ import annotations

import asyncio
import json
import re
import time
from contextlib import aclosing
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.models.trigger import Trigger

from airflow_provider_leadmagic.api.models import CreditBalance
from airflow_provider_leadmagic.compat.metadata import TaskKey
from airflow_provider_leadmagic.decisions.claims import NOTHING_SEEN
from airflow_provider_leadmagic.decisions.events import seen_from
from airflow_provider_leadmagic.decisions.ledger import Claim
from airflow_provider_leadmagic.exceptions import ClaimsError
from airflow_provider_leadmagic.triggers import claims as module
from airflow_provider_leadmagic.triggers.claims import ClaimedCreditsTrigger, latest_standings
from airflow_provider_leadmagic.triggers.shared_poll import Reading
from tests.support.claiming_airflow import POOL, ClaimingAirflow
from tests.support.trigger_runner import sleeps_at
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_mock import MockerFixture

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

MINE = TaskKey("waiting", "run", "wait_for_credits")
OTHER = TaskKey("other", "run", "wait_for_credits")
ARGUMENTS: dict[str, Any] = {
    "leadmagic_conn_id": "leadmagic_default",
    "minimum_credits": "500",
    "poke_interval": 0.05,
    "claim_pool": POOL,
    "claimed_by": list(MINE),
    "refresh": False,
    "not_before": 0.0,
    "waiting_since": 0.0,
    "deferred_at": 0.0,
}


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch, leadmagic_sandbox: Sandbox) -> ClaimingAirflow:
    """Return an Airflow in which the task of these tests waits for 500 credits. The balance is 1,000."""
    airflow = ClaimingAirflow()
    airflow.add(claim(MINE, 500), "deferred")
    monkeypatch.setattr("airflow_provider_leadmagic.triggers.claims.aask", airflow.aask)
    return airflow


def claim(task: TaskKey, credits: int, **fields: Any) -> Claim:
    return Claim(task, Decimal(credits), since=0.0, **fields)


def make(**changes: Any) -> ClaimedCreditsTrigger:
    return ClaimedCreditsTrigger(**{**ARGUMENTS, **changes})


async def event_of(trigger: ClaimedCreditsTrigger) -> dict[str, Any]:
    async with asyncio.timeout(20), aclosing(trigger.run()) as events:
        async for event in events:
            return json.loads(json.dumps(event.payload))
    raise AssertionError("the trigger ended without an event")


async def event_after(change: Callable[[], None], waits: Callable[[], bool], **arguments: Any) -> dict[str, Any]:
    """Return the event of a trigger that fires only after a change."""
    task = asyncio.create_task(event_of(make(**arguments)))
    await until(waits)
    assert not task.done()
    change()
    return await task


def test_airflow_stores_and_restores_its_arguments() -> None:
    classpath, kwargs = make().serialize()

    assert Trigger(classpath=classpath, kwargs=kwargs).kwargs == kwargs == ARGUMENTS
    assert classpath == "airflow_provider_leadmagic.triggers.claims.ClaimedCreditsTrigger"


def test_by_default_it_polls_at_once_and_without_refresh() -> None:
    _, kwargs = ClaimedCreditsTrigger("leadmagic_default", "500", 0.05, POOL, list(MINE)).serialize()

    assert kwargs == ARGUMENTS


def test_a_trigger_that_was_stored_without_the_time_of_the_deferral_uses_the_begin_of_the_interval() -> None:
    stored = {name: value for name, value in ARGUMENTS.items() if name != "deferred_at"}

    assert ClaimedCreditsTrigger(**{**stored, "waiting_since": 99.0}).deferred_at == 99.0


@pytest.mark.parametrize(
    ("changes", "is_shared"),
    [
        ({"minimum_credits": "5"}, True),
        ({"claimed_by": list(OTHER)}, True),
        ({"waiting_since": 99.0, "deferred_at": 299.0}, True),
        ({"claim_pool": "other"}, False),
        ({"poke_interval": 60.0}, False),
    ],
    ids=str,
)
def test_triggers_of_the_same_pool_share_a_poll(changes: dict[str, Any], is_shared: bool) -> None:
    assert (make().shared_stream_key() == make(**changes).shared_stream_key()) is is_shared


def test_it_wakes_a_task_that_can_be_granted_its_credits(airflow: ClaimingAirflow, logged: Callable[[], str]) -> None:
    event = asyncio.run(event_of(make()))

    assert seen_from(event).ended == {}
    assert "Credits can be claimed: the task continues when pool 'leadmagic' has a free slot." in logged()
    assert airflow.asked["WriteVariable"] == 0


@pytest.mark.parametrize(
    ("deferred_at", "sleeps"),
    [
        pytest.param(0.0, 0.0, id="deferred long ago"),
        pytest.param(997.0, 2.0, id="deferred three seconds ago"),
        pytest.param(1000.0, 5.0, id="just deferred"),
        pytest.param(2000.0, 5.0, id="the worker's clock is fast"),
    ],
)
def test_it_wakes_a_task_that_has_just_deferred_only_when_airflow_knows_that_its_process_ended(
    airflow: ClaimingAirflow, mocker: MockerFixture, deferred_at: float, sleeps: float
) -> None:
    """``waiting_since`` is long ago, so that the first poll is due at once."""
    slept = sleeps_at(1000.0, mocker)

    asyncio.run(event_of(make(waiting_since=1.0, deferred_at=deferred_at)))

    assert slept[-1] == sleeps


def test_it_does_not_wake_a_task_while_others_claim_the_credits(
    airflow: ClaimingAirflow, logged: Callable[[], str]
) -> None:
    airflow.add(claim(OTHER, 501, granted_at=1.0, settle=0.0), "success")

    event = asyncio.run(
        event_after(lambda: airflow.ended_runs.add(("other", "run")), lambda: airflow.asked["ReadVariable"] >= 2)
    )

    assert event["status"] == "wake"
    assert (
        "Waiting for credits: 1 short (1,000 spendable, 501 claimed by 1 run, 500 required) on connection" in logged()
    )


def test_its_event_has_the_seconds_since_a_claim_ended(airflow: ClaimingAirflow) -> None:
    airflow.add(claim(OTHER, 501, granted_at=1.0, settle=0.2), "success")
    airflow.ended_runs.add(("other", "run"))

    event = asyncio.run(event_of(make()))

    assert seen_from(event).ended[OTHER] >= 0.2


def test_it_wakes_the_task_when_an_ended_claim_stops_counting_and_not_an_interval_later(
    airflow: ClaimingAirflow, leadmagic_sandbox: Sandbox
) -> None:
    airflow.add(claim(OTHER, 501, granted_at=1.0, settle=0.3), "success")
    airflow.ended_runs.add(("other", "run"))

    asyncio.run(event_of(make(poke_interval=60)))

    assert len(leadmagic_sandbox.requests_to("/v1/credits")) == 1


def test_it_wakes_the_task_if_a_task_ahead_does_not_decide(airflow: ClaimingAirflow) -> None:
    airflow.add(claim(OTHER, 800, priority=2, patience=0.2), "scheduled")

    event = asyncio.run(event_of(make()))

    assert seen_from(event).affordable[OTHER] >= 0.2


def test_a_task_that_is_not_in_the_ledger_is_woken_by_the_balance_alone(airflow: ClaimingAirflow) -> None:
    airflow.variables.clear()

    assert seen_from(asyncio.run(event_of(make()))) == NOTHING_SEEN


def test_what_it_has_seen_does_not_outlive_the_next_decision(
    airflow: ClaimingAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: clock[0], monotonic=time.monotonic))
    balance = CreditBalance(Decimal(1000), datetime.now(UTC))
    airflow.add(claim(OTHER, 501, granted_at=1.0), "success")

    async def claimed_at(seconds: float) -> Decimal:
        clock[0] = seconds
        result = await latest_standings(POOL, "leadmagic_default", Reading(time.monotonic(), False, balance))
        assert result.standings is not None
        return result.standings.claimed

    async def run() -> None:
        airflow.ended_runs.add(("other", "run"))
        assert await claimed_at(1000.0) == 501  # it settles
        assert await claimed_at(1060.0) == 0
        # When the ledger changes, the trigger forgets what it saw: the other run may have been cleared and spend again.
        airflow.add(claim(MINE, 500, priority=2), "deferred")
        assert await claimed_at(2000.0) == 501

    asyncio.run(run())


@pytest.mark.parametrize(("age", "are_read"), [(5.0, False), (5.1, True)])
def test_the_claims_are_read_again_for_a_task_that_has_deferred_since(
    airflow: ClaimingAirflow, monkeypatch: pytest.MonkeyPatch, age: float, are_read: bool
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(time=time.time, monotonic=lambda: clock[0]))
    reading = Reading(1000.0, False, CreditBalance(Decimal(1000), datetime.now(UTC)))
    late = TaskKey("late", "run", "wait_for_credits")

    async def standings_later() -> Any:
        await latest_standings(POOL, "leadmagic_default", reading, MINE)
        airflow.add(claim(late, 501), "deferred")
        clock[0] += age
        return (await latest_standings(POOL, "leadmagic_default", reading, late)).standings

    assert (late in asyncio.run(standings_later()).by_task) == are_read


def test_triggers_of_two_connections_do_not_make_each_other_read_the_claims_again(airflow: ClaimingAirflow) -> None:
    balance = CreditBalance(Decimal(1), datetime.now(UTC))
    readings = {name: Reading(time.monotonic(), False, balance) for name in ("first", "second")}

    async def judge() -> None:
        for _ in range(10):
            for conn_id, reading in readings.items():
                await latest_standings(POOL, conn_id, reading, MINE)

    asyncio.run(judge())

    assert airflow.asked["ReadVariable"] == 2


def test_it_keeps_waiting_while_airflow_does_not_respond(airflow: ClaimingAirflow, logged: Callable[[], str]) -> None:
    airflow.error = ClaimsError("Cannot read the Variable 'x' (API_SERVER_ERROR 500)", transient=True)

    event = asyncio.run(
        event_after(lambda: setattr(airflow, "error", None), lambda: airflow.asked["ReadVariable"] >= 2)
    )

    assert event["status"] == "wake"
    lines = logged()
    for failures in (1, 2):
        assert re.search(rf"failed \({failures} in a row\), retrying in 0(\.\d)? s: Cannot read the Variable", lines)


def test_unreadable_claims_end_the_wait(airflow: ClaimingAirflow) -> None:
    airflow.variables["leadmagic_claims_leadmagic"] = "[]"

    with pytest.raises(ClaimsError, match="Unreadable claims: restore the Variable"):
        seen_from(asyncio.run(event_of(make())))


def test_a_hundred_tasks_share_the_requests_to_leadmagic_and_airflow(
    airflow: ClaimingAirflow, leadmagic_sandbox: Sandbox
) -> None:
    leadmagic_sandbox.set_credits(1)
    tasks = [TaskKey("waiting", f"run {number}", "wait_for_credits") for number in range(100)]
    for task in tasks:
        airflow.add(claim(task, 500), "deferred")

    async def run() -> None:
        triggers = [asyncio.create_task(event_of(make(poke_interval=1, claimed_by=list(task)))) for task in tasks]
        await until(lambda: airflow.asked["ReadVariable"] >= 3)
        for trigger in triggers:
            trigger.cancel()
        await asyncio.gather(*triggers, return_exceptions=True)

    began = time.monotonic()
    asyncio.run(run())

    polls = len(leadmagic_sandbox.requests_to("/v1/credits"))
    assert polls <= (time.monotonic() - began) / 0.9 + 1
    assert airflow.asked["ReadVariable"] <= polls
    assert airflow.asked["ReadTaskStates"] == airflow.asked["ReadActiveRuns"] <= polls
