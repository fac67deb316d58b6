"""The sensors of the distributed run cover every mode and outcome."""

from __future__ import annotations

from collections import Counter
from itertools import product

from tests.distributed.sensors import (
    AFTER,
    AFTER_TOP_UP,
    AT_ONCE,
    BEFORE,
    MODES,
    OUTCOMES,
    POKE,
    POKING_SLOTS,
    all_sensors,
)


def test_there_are_300_sensors_in_30_dags() -> None:
    sensors = all_sensors(30)

    assert len({sensor.key for sensor in sensors}) == 300
    assert len({sensor.dag_id for sensor in sensors}) == 30


def test_every_mode_has_sensors_of_every_outcome_and_expected_state() -> None:
    sensors = all_sensors(30)

    assert {(sensor.mode, sensor.outcome) for sensor in sensors} == set(product(MODES, OUTCOMES))
    states = {(sensor.mode, sensor.expected_state) for sensor in sensors}
    assert states == set(product(MODES, ("success", "failed", "skipped")))


def test_thresholds_match_the_outcomes() -> None:
    for sensor in all_sensors(30):
        minimum = sensor.minimum_credits
        outcome = AT_ONCE if minimum <= BEFORE else AFTER_TOP_UP if minimum <= AFTER else "never"
        assert outcome == sensor.outcome


def test_poking_sensors_that_wait_for_the_top_up_leave_slots_for_others() -> None:
    waiting = Counter(sensor.mode for sensor in all_sensors(30) if sensor.outcome == AFTER_TOP_UP)

    assert 0 < waiting[POKE] < POKING_SLOTS
