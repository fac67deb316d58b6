"""
The sensors of the distributed run, and the state in which each must end.

Of every ten sensors, six are deferrable, three are rescheduled and one pokes. A poking sensor occupies a worker slot
while it waits, so the poking sensors have their own Airflow pool with half of the slots. Without this limit they could
fill all workers, and no deferred or rescheduled sensor would ever run again. For the same reason, fewer poking sensors
wait for the top-up than the pool has slots: those that time out need slots as well.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: 30 for a full run; 2 or so are enough while working on these tests.
DAGS = int(os.environ.get("LEADMAGIC_TEST_DAGS", "30"))

POKE, RESCHEDULE, DEFERRABLE = MODES = ("poke", "reschedule", "deferrable")
BEFORE, AFTER = 100, 1000
"""The balance before and after the top-up."""

AT_ONCE, AFTER_TOP_UP, NEVER = OUTCOMES = ("at_once", "after_top_up", "never")
"""When a sensor succeeds."""

INTERVALS = {POKE: 10, RESCHEDULE: 90, DEFERRABLE: 10}
TIMEOUT = int(os.environ.get("LEADMAGIC_TEST_TIMEOUT", "540"))
"""Timeout of deferrable and rescheduled sensors that never succeed, in seconds."""

POKING_OUTCOMES = [AFTER_TOP_UP, *[AT_ONCE] * 4, *[NEVER] * 5]
"""Outcome of the poking sensor in each of ten DAGs; the last three have ``soft_fail``."""

POKING_POOL, POKING_SLOTS = "poking", 6


@dataclass(frozen=True)
class Sensor:
    """
    A sensor of the run.

    :param outcome: When it succeeds, if ever.
    """

    dag_id: str
    task_id: str
    mode: str
    outcome: str
    minimum_credits: int
    soft_fail: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """DAG ID and task ID."""
        return self.dag_id, self.task_id

    @property
    def expected_state(self) -> str:
        """The state in which its task must end."""
        return ("skipped" if self.soft_fail else "failed") if self.outcome == NEVER else "success"

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the ``SufficientCreditsSensor``."""
        return {
            "task_id": self.task_id,
            "minimum_credits": self.minimum_credits,
            "leadmagic_conn_id": self.mode,
            "poke_interval": INTERVALS[self.mode],
            "timeout": self._timeout(),
            "soft_fail": self.soft_fail,
            **({"deferrable": True} if self.mode == DEFERRABLE else {"deferrable": False, "mode": self.mode}),
            **({"pool": POKING_POOL} if self.mode == POKE else {}),
        }

    def _timeout(self) -> float:
        if self.outcome != NEVER:
            return 3600  # longer than the run, whatever it breaks meanwhile
        # Several poking sensors share a slot, one after the other, so each must time out soon.
        return 45 if self.mode == POKE else TIMEOUT


def all_sensors(dags: int = DAGS) -> list[Sensor]:
    """List the sensors of all DAGs."""
    return [sensor for number in range(dags) for sensor in _sensors_of(number)]


def write_plan(path: Path, sensors: Iterable[Sensor]) -> None:
    """Write the sensors to a file, which the DAG file reads."""
    path.write_text(json.dumps([{"dag_id": sensor.dag_id, "arguments": sensor.arguments()} for sensor in sensors]))


def _sensors_of(number: int) -> list[Sensor]:
    cases = [
        *[(DEFERRABLE, outcome, False) for outcome in (AT_ONCE, AFTER_TOP_UP, AFTER_TOP_UP, AFTER_TOP_UP, NEVER)],
        (DEFERRABLE, NEVER, True),
        (RESCHEDULE, AT_ONCE, False),
        (RESCHEDULE, AFTER_TOP_UP, False),
        (RESCHEDULE, NEVER, number % 2 == 1),
        (POKE, POKING_OUTCOMES[number % 10], number % 10 >= 7),
    ]
    return [
        Sensor(
            dag_id=f"sensors_{number:02}",
            task_id=f"{mode}_{outcome}_{position}",
            mode=mode,
            outcome=outcome,
            minimum_credits=_minimum(outcome, number),
            soft_fail=soft_fail,
        )
        for position, (mode, outcome, soft_fail) in enumerate(cases)
    ]


def _minimum(outcome: str, number: int) -> int:
    """Choose a threshold; in the first DAG it is as close to the balance as possible."""
    return {AT_ONCE: BEFORE - number, AFTER_TOP_UP: BEFORE + 1 + number, NEVER: AFTER + 1 + number}[outcome]
