"""All that was measured, and how it becomes the rows of the table."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from benchmarks.contenders import Contender, Waits
from benchmarks.triggerer_runs import SLEEPING

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.plan import Plan
    from benchmarks.real_runs import Waited
    from benchmarks.triggerer_runs import Triggered

SECONDS_OF_AN_HOUR = 3600.0


@dataclass(frozen=True)
class Row:
    """
    A row of the table; ``None`` where there is nothing to tell.

    :param looks: Requests in an interval.
    :param slot_seconds: Seconds for which worker slots are occupied in an hour.
    :param cpu_percent: Share of a core that the triggerer takes.
    :param memory_mb: Resident memory of the triggerer.
    :param first_open: Seconds from the top-up to the first open gate.
    :param last_open: Seconds from the top-up to the last open gate.
    :param computed: Which of these were computed rather than measured.
    :param until_event: Whether gates count as open when their trigger fires.
    """

    looks: float | None = None
    slot_seconds: float | None = None
    cpu_percent: float | None = None
    memory_mb: float | None = None
    first_open: float | None = None
    last_open: float | None = None
    computed: frozenset[str] = frozenset()
    until_event: bool = False


@dataclass(frozen=True)
class Results:
    """
    All that was measured.

    :param plan: How much that is.
    :param machine: What it was measured on, in words.
    :param imports: By contender, milliseconds and modules of each import of its DAG file.
    :param alone: By contender, what its single gates did under a real Airflow.
    :param many: By contender, what its many gates did there.
    :param triggerers: By kind and number of triggers, what they took.
    """

    plan: Plan
    machine: str
    imports: dict[str, list[tuple[float, int]]]
    alone: dict[str, list[Waited]]
    many: dict[str, Waited]
    triggerers: dict[str, dict[str, Triggered]]

    def row(self, contender: Contender, gates: int) -> Row:
        """Tell what is known of some gates of a contender that wait together."""
        real = [self.many[contender.name]] if gates == self.plan.many and contender.name in self.many else []
        real = self.alone[contender.name] if gates == 1 else real
        triggered = self.triggerers.get(contender.name, {}).get(str(gates))
        if real:
            return _measured(real, triggered)
        return _in_a_triggerer_alone(triggered) if triggered else self._computed(contender, gates)

    def sleeping(self, gates: int) -> Row:
        """Tell what Airflow itself takes for triggers that only sleep."""
        triggered = self.triggerers[SLEEPING][str(gates)]
        return Row(cpu_percent=triggered.cpu_percent, memory_mb=triggered.memory_mb)

    def import_cost(self, contender: Contender) -> tuple[float, int]:
        """Tell the median of the milliseconds, and the modules."""
        costs = self.imports[contender.name]
        return statistics.median(milliseconds for milliseconds, _ in costs), costs[0][1]

    def _computed(self, contender: Contender, gates: int) -> Row:
        is_on_worker = contender.waits is Waits.ON_A_WORKER
        each = SECONDS_OF_AN_HOUR if is_on_worker else self.many[contender.name].slot_seconds / self.plan.many
        return Row(looks=gates, slot_seconds=gates * each, computed=frozenset({"looks", "slot_seconds"}))


def _measured(real: list[Waited], triggered: Triggered | None) -> Row:
    medians = {name: _median(real, name) for name in ("looks", "slot_seconds", "first_open", "last_open")}
    return Row(
        **medians,
        cpu_percent=triggered.cpu_percent if triggered else None,
        memory_mb=triggered.memory_mb if triggered else None,
    )


def _median(real: list[Waited], name: str) -> float:
    read: Callable[[Waited], float] = lambda waited: getattr(waited, name)  # noqa: E731
    return statistics.median(map(read, real))


def _in_a_triggerer_alone(triggered: Triggered) -> Row:
    measured = {field.name: getattr(triggered, field.name) for field in fields(triggered)}
    # A gate that is deferred has left its slot, however many there are.
    return Row(**measured, slot_seconds=0.0, computed=frozenset({"slot_seconds"}), until_event=True)
