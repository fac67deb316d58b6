"""
A property-based simulation: whatever happens in Airflow, no credits are promised twice, and no task waits forever.

Each history runs the real protocol in a model of Airflow, :mod:`tests.support.hostile_airflow`. In a history, processes
are killed, are suspended, or continue after Airflow considers them lost; users clear, mark and delete tasks and runs;
responses are lost; and the balance is old. After every step the balance must cover all credits that are promised.

The usual 200 histories are always the same. ``LEADMAGIC_TEST_HISTORIES=20000 PYTEST_TIMEOUT=0`` plays 20,000 new ones.
"""

from __future__ import annotations

import os
import random
from collections.abc import Generator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pytest_mock import MockerFixture

from airflow_provider_leadmagic.claims.admission import ReadBalance
from airflow_provider_leadmagic.decisions.ledger import Claim
from tests.support.hostile_airflow import (
    CALM,
    ONE_QUESTION,
    SETUP,
    BrokenPromiseError,
    HostileAirflow,
    Process,
    Task,
    calm_down,
    decide_at_once,
    play,
)

STEPS = 150
HISTORIES = int(os.environ.get("LEADMAGIC_TEST_HISTORIES", "200"))
#: Number of histories in which a test searches for a broken promise, to show that the simulation can fail.
SEARCHED = 5000

simulation = settings(
    max_examples=HISTORIES,
    derandomize=HISTORIES <= 200,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
histories = st.binary(min_size=SETUP + 2 * STEPS, max_size=SETUP + 2 * STEPS)


@simulation
@given(histories)
def test_no_credits_are_promised_twice_and_no_task_waits_forever(history: bytes) -> None:
    calm_down(play(history), most_polls=30)


def test_a_second_slot_does_not_break_the_promise_because_it_is_noticed() -> None:
    assert not any(is_broken(seed, slots=2) for seed in range(50))


# The simulation can fail


def is_broken(seed: int, **options: Any) -> bool:
    try:
        play(random.Random(seed).randbytes(SETUP + 2 * STEPS), **options)
    except BrokenPromiseError:
        return True
    return False


def check_the_balance_only(pool: str, claim: Claim, *_: Any) -> Generator[Any, Any, Any]:
    """Decide like a sensor without a claim, by the balance alone."""
    balance = yield ReadBalance()
    return SimpleNamespace(standing=SimpleNamespace(is_granted=balance.spendable >= claim.credits))


@pytest.mark.parametrize(
    "options",
    [{"decide": check_the_balance_only}, {"settle": 0.0}],
    ids=["no claims", "no settle"],
)
def test_without_one_of_its_rules_the_protocol_breaks_the_promise(options: dict[str, Any]) -> None:
    assert any(is_broken(seed, **options) for seed in range(SEARCHED))


def two_sensors(**options: Any) -> tuple[HostileAirflow, Task, Task]:
    """Return a model with 5 credits, and the sensors of two of its runs, which claim 3 credits each."""
    airflow = HostileAirflow(bytes([5, 0, 11, 11, 11, 11]), **options)
    return airflow, airflow.runs[0].tasks["sensor"], airflow.runs[1].tasks["sensor"]


def start(airflow: HostileAirflow, sensor: Task) -> Process:
    airflow.queue(sensor)
    airflow.start(sensor)
    assert sensor.process
    return sensor.process


@pytest.mark.parametrize("reads_balance_first", [False, True])
def test_a_balance_from_before_the_states_breaks_the_promise(reads_balance_first: bool) -> None:
    airflow, first, second = two_sensors(settle=0.0, reads_balance_first=reads_balance_first)
    decide_at_once(airflow, first, CALM)
    work = first.run.tasks["work"]
    airflow.start(work)
    assert work.process
    decides = start(airflow, second)
    airflow.ask(decides, ONE_QUESTION)
    airflow.spend(work.process, 3)
    airflow.end(work.process, "success")
    airflow.ask(decides, CALM)
    airflow.end(decides, "success")

    with pytest.raises(BrokenPromiseError) if reads_balance_first else nullcontext():
        airflow.check()


@pytest.mark.parametrize("is_noticed", [True, False])
def test_two_slots_break_the_promise_if_no_task_notices_them(mocker: MockerFixture, is_noticed: bool) -> None:
    if not is_noticed:
        mocker.patch("airflow_provider_leadmagic.claims.admission.IN_A_SLOT", frozenset())
    airflow, *sensors = two_sensors(slots=2, rereads=is_noticed)
    decide = [start(airflow, sensor) for sensor in sensors]
    for process in decide:
        airflow.ask(process, ONE_QUESTION)
    for process in decide:
        airflow.ask(process, CALM)
        airflow.end(process, "success")

    with nullcontext() if is_noticed else pytest.raises(BrokenPromiseError):
        airflow.check()
