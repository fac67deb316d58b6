"""The results of all measurements, and the rows of the tables that follow from them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from benchmarks.candidates import Candidate, WaitsIn
from benchmarks.triggerer_runs import SLEEPING

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.plan import Plan
    from benchmarks.real_runs import WaitResult
    from benchmarks.triggerer_runs import TriggererResult

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Row:
    """
    A row of a table; ``None`` where there is no value.

    :param polls: Requests per interval.
    :param slot_seconds: Seconds of occupied worker slots per hour.
    :param cpu_percent: CPU of the triggerer in percent of a core.
    :param memory_mb: Resident memory of the triggerer.
    :param first_success: Seconds from the top-up to the success of the first sensor.
    :param last_success: Seconds from the top-up to the success of the last sensor.
    :param computed: Fields that were computed, not measured.
    :param until_event: Whether success means that the trigger fired, not that the task ended.
    """

    polls: float | None = None
    slot_seconds: float | None = None
    cpu_percent: float | None = None
    memory_mb: float | None = None
    first_success: float | None = None
    last_success: float | None = None
    computed: frozenset[str] = frozenset()
    until_event: bool = False


@dataclass(frozen=True)
class Results:
    """
    The results of all measurements.

    :param plan: How much was measured.
    :param machine: Versions and hardware, in words.
    :param imports: By candidate, milliseconds and modules of each import of its DAG file.
    :param alone: By candidate, results of its single sensors under a real Airflow.
    :param many: By candidate, result of its many sensors under a real Airflow.
    :param triggerers: By kind and number of triggers, result of a standalone triggerer.
    """

    plan: Plan
    machine: str
    imports: dict[str, list[tuple[float, int]]]
    alone: dict[str, list[WaitResult]]
    many: dict[str, WaitResult]
    triggerers: dict[str, dict[str, TriggererResult]]

    def row(self, candidate: Candidate, sensors: int) -> Row:
        """Return what was measured or computed for a number of sensors of a candidate."""
        real = [self.many[candidate.name]] if sensors == self.plan.many and candidate.name in self.many else []
        real = self.alone[candidate.name] if sensors == 1 else real
        triggerer = self.triggerers.get(candidate.name, {}).get(str(sensors))
        if real:
            return _measured(real, triggerer)
        return _standalone_triggerer(triggerer) if triggerer else self._computed(candidate, sensors)

    def sleeping(self, sensors: int) -> Row:
        """Return the CPU and memory of a triggerer whose triggers only sleep: what Airflow itself needs."""
        triggerer = self.triggerers[SLEEPING][str(sensors)]
        return Row(cpu_percent=triggerer.cpu_percent, memory_mb=triggerer.memory_mb)

    def import_cost(self, candidate: Candidate) -> tuple[float, int]:
        """Return the median of the milliseconds, and the number of modules."""
        costs = self.imports[candidate.name]
        return statistics.median(milliseconds for milliseconds, _ in costs), costs[0][1]

    def _computed(self, candidate: Candidate, sensors: int) -> Row:
        is_on_worker = candidate.waits_in is WaitsIn.WORKER_SLOT
        each = SECONDS_PER_HOUR if is_on_worker else self.many[candidate.name].slot_seconds / self.plan.many
        return Row(polls=sensors, slot_seconds=sensors * each, computed=frozenset({"polls", "slot_seconds"}))


def _measured(real: list[WaitResult], triggerer: TriggererResult | None) -> Row:
    medians = {name: _median(real, name) for name in ("polls", "slot_seconds", "first_success", "last_success")}
    return Row(
        **medians,
        cpu_percent=triggerer.cpu_percent if triggerer else None,
        memory_mb=triggerer.memory_mb if triggerer else None,
    )


def _median(real: list[WaitResult], name: str) -> float:
    read: Callable[[WaitResult], float] = lambda result: getattr(result, name)  # noqa: E731
    return statistics.median(map(read, real))


def _standalone_triggerer(triggerer: TriggererResult) -> Row:
    measured = {field.name: getattr(triggerer, field.name) for field in fields(triggerer)}
    # Deferred sensors occupy no slot, whatever their number.
    return Row(**measured, slot_seconds=0.0, computed=frozenset({"slot_seconds"}), until_event=True)
