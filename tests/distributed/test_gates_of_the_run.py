"""The gates of the distributed run are those that it promises."""

from __future__ import annotations

from collections import Counter
from itertools import product

from tests.distributed.gates import AFTER, AFTER_TOP_UP, AT_ONCE, BEFORE, FATES, MODES, POKE, POKING_SLOTS, all_gates


def test_there_are_300_gates_in_30_dags() -> None:
    gates = all_gates(30)

    assert len({gate.key for gate in gates}) == 300
    assert len({gate.dag_id for gate in gates}) == 30


def test_every_mode_has_gates_of_every_fate_and_every_end() -> None:
    gates = all_gates(30)

    assert {(gate.mode, gate.fate) for gate in gates} == set(product(MODES, FATES))
    assert {(gate.mode, gate.end) for gate in gates} == set(product(MODES, ("success", "failed", "skipped")))


def test_thresholds_are_what_the_fates_say() -> None:
    for gate in all_gates(30):
        fate = AT_ONCE if gate.minimum_credits <= BEFORE else AFTER_TOP_UP if gate.minimum_credits <= AFTER else "never"
        assert fate == gate.fate


def test_gates_that_wait_for_the_top_up_leave_slots_to_others_that_poke() -> None:
    waiting = Counter(gate.mode for gate in all_gates(30) if gate.fate == AFTER_TOP_UP)

    assert 0 < waiting[POKE] < POKING_SLOTS
