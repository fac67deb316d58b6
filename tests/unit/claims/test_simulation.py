"""
A property-based simulation: whatever happens in Airflow, no credits are promised twice, and no task waits forever.

Each history runs the real protocol in a model of Airflow, :mod:`tests.support.hostile_airflow`. In a history, processes
are killed, are suspended, or continue after Airflow considers them lost; users clear, mark and delete tasks and runs;
responses are lost; and the balance is old. After every step the balance must cover all credits that are promised.

The usual 300 histories are always the same. ``LEADMAGIC_TEST_HISTORIES=20000 PYTEST_TIMEOUT=0`` plays 20,000 new ones.
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
    SETUP,
    BrokenPromiseError,
    HostileAirflow,
    calm_down,
    decide_at_once,
    play,
)

STEPS = 150
HISTORIES = int(os.environ.get("LEADMAGIC_TEST_HISTORIES", "300"))
#: Number of histories in which a test searches for a broken promise, to show that the simulation can fail.
SEARCHED = 5000

simulation = settings(
    max_examples=HISTORIES,
    derandomize=HISTORIES <= 300,
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
    assert not any(is_broken(seed, slots=2) for seed in range(200))


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


@pytest.mark.parametrize("reads_balance_first", [False, True])
def test_a_balance_from_before_the_states_breaks_the_promise(reads_balance_first: bool) -> None:
    two_runs_of_three_credits = bytes([5, 0, 11, 11, 11, 11])
    airflow = HostileAirflow(two_runs_of_three_credits, settle=0.0, reads_balance_first=reads_balance_first)
    first, second = (run.tasks for run in airflow.runs[:2])
    decide_at_once(airflow, first["sensor"], CALM)
    airflow.start(first["work"])
    airflow.queue(second["sensor"])
    airflow.start(second["sensor"])
    decides, works = second["sensor"].process, first["work"].process
    assert decides
    assert works
    airflow.ask(decides, 2)  # the first question only
    airflow.spend(works, 3)
    airflow.end(works, "success")
    airflow.ask(decides, CALM)
    airflow.end(decides, "success")

    with pytest.raises(BrokenPromiseError) if reads_balance_first else nullcontext():
        airflow.check()


def test_two_slots_break_the_promise_if_no_task_notices_them(mocker: MockerFixture) -> None:
    mocker.patch("airflow_provider_leadmagic.claims.admission.IN_A_SLOT", frozenset())

    assert any(is_broken(seed, slots=2, rereads=False) for seed in range(SEARCHED))
