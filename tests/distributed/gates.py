"""
The gates of the distributed run: which there are, and how each has to end.

Of every ten gates six are deferrable, three rescheduled, and one pokes. A gate that pokes holds a slot of a worker for
as long as it waits, so these have an Airflow pool of their own, with half of the slots: were there no limit, enough of
them would fill all workers, and neither a deferred nor a rescheduled gate would ever get its next turn. Within the
pool, gates that wait for the top-up are fewer than its slots for the same reason: those that time out need their turn.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: 30 for the real run. For work on these tests set it to 2 or so.
DAGS = int(os.environ.get("LEADMAGIC_TEST_DAGS", "30"))

POKE, RESCHEDULE, DEFERRABLE = MODES = ("poke", "reschedule", "deferrable")
BEFORE, AFTER = 100, 1000
"""The balance before and after the top-up."""

AT_ONCE, AFTER_TOP_UP, NEVER = FATES = ("at_once", "after_top_up", "never")
INTERVALS = {POKE: 10, RESCHEDULE: 90, DEFERRABLE: 10}
PATIENCE = int(os.environ.get("LEADMAGIC_TEST_PATIENCE", "540"))
"""Seconds that a gate waits which never opens, unless it pokes; those that wait for the top-up see all faults."""

POKING_FATES = [AFTER_TOP_UP, *[AT_ONCE] * 4, *[NEVER] * 5]
"""Of the one gate that pokes, in ten DAGs; the last three are soft."""

POKING_POOL, POKING_SLOTS = "poking", 6


@dataclass(frozen=True)
class Gate:
    """One gate, in a task of the name of its case, and alone in that in its DAG."""

    dag_id: str
    case: str
    mode: str
    fate: str
    minimum_credits: int
    soft_fail: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Its DAG and its task."""
        return self.dag_id, self.case

    @property
    def end(self) -> str:
        """The state it has to end in."""
        return ("skipped" if self.soft_fail else "failed") if self.fate == NEVER else "success"

    def arguments(self) -> dict[str, Any]:
        """Name the sensor's arguments."""
        return {
            "task_id": self.case,
            "minimum_credits": self.minimum_credits,
            "leadmagic_conn_id": self.mode,
            "poke_interval": INTERVALS[self.mode],
            "timeout": self._timeout(),
            "soft_fail": self.soft_fail,
            **({"deferrable": True} if self.mode == DEFERRABLE else {"deferrable": False, "mode": self.mode}),
            **({"pool": POKING_POOL} if self.mode == POKE else {}),
        }

    def _timeout(self) -> float:
        if self.fate != NEVER:
            return 3600
        # One slot serves many of these one after the other.
        return 45 if self.mode == POKE else PATIENCE


def all_gates(dags: int = DAGS) -> list[Gate]:
    """List the gates of all DAGs."""
    return [gate for number in range(dags) for gate in _gates_of(number)]


def write_plan(path: Path, gates: Iterable[Gate]) -> None:
    """Write down the gates for the DAG file to read."""
    path.write_text(json.dumps([{"dag_id": gate.dag_id, "arguments": gate.arguments()} for gate in gates]))


def _gates_of(number: int) -> list[Gate]:
    cases = [
        *[(DEFERRABLE, fate, False) for fate in (AT_ONCE, AFTER_TOP_UP, AFTER_TOP_UP, AFTER_TOP_UP, NEVER)],
        (DEFERRABLE, NEVER, True),
        (RESCHEDULE, AT_ONCE, False),
        (RESCHEDULE, AFTER_TOP_UP, False),
        (RESCHEDULE, NEVER, number % 2 == 1),
        (POKE, POKING_FATES[number % 10], number % 10 >= 7),
    ]
    return [
        Gate(
            dag_id=f"gates_{number:02}",
            case=f"{mode}_{fate}_{position}",
            mode=mode,
            fate=fate,
            minimum_credits=_minimum(fate, number),
            soft_fail=soft_fail,
        )
        for position, (mode, fate, soft_fail) in enumerate(cases)
    ]


def _minimum(fate: str, number: int) -> int:
    """Choose a threshold; that of the first DAG is as near to the balance as can be."""
    return {AT_ONCE: BEFORE - number, AFTER_TOP_UP: BEFORE + 1 + number, NEVER: AFTER + 1 + number}[fate]
