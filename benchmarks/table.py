"""Format the results as the Markdown tables of the documentation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.candidates import CANDIDATES, DEFERRABLE, RESCHEDULE, Candidate

if TYPE_CHECKING:
    from benchmarks.results import Results, Row

HEAD = """\
| {sensors} | requests per interval | worker-slot seconds per hour | triggerer CPU, % of a core | triggerer memory, MB \
| first success, s | last success, s |
|---|--:|--:|--:|--:|--:|--:|"""

COLUMNS = ("polls", "slot_seconds", "cpu_percent", "memory_mb", "first_success", "last_success")
COMPUTED = " ²"

IMPORTS = """\
| a DAG file with one sensor | import, ms | modules |
|---|--:|--:|"""

NOTES = """\
In parentheses: the ratio to the first row. Slot seconds are compared with the second row, because a deferrable sensor
occupies no slot while it waits. *Italics with ≈*: computed, not measured. –: not applicable, or not possible here.

¹ With a `response_check`, `HttpSensor(deferrable=True)` does not defer: its `execute` calls the base class, as in
`poke` mode, and the sensor occupies its worker slot until it succeeds. (Without a `response_check` it would defer, and
succeed on any response that is not an error.) The computed values assume one slot per sensor, all the time.

² Computed, not measured. Rescheduled sensors: so many polls need more slots and cores than this machine has. The table
assumes one request per sensor, and scales up the slot seconds of {many} sensors. Deferred sensors: 0, because they
occupy no slot.

³ Until the trigger fires. Airflow then starts each task again, which took about {start:.1f} s per sensor when
{many} sensors succeeded.
"""


def markdown(results: Results) -> str:
    """Format all results as Markdown."""
    blocks = [_waiting(results, sensors) for sensors in results.plan.sizes]
    return "\n\n".join([results.machine, *blocks, _imports(results), _notes(results)])


def _waiting(results: Results, sensors: int) -> str:
    slot_seconds = results.row(RESCHEDULE, sensors).slot_seconds
    baseline = replace(results.row(DEFERRABLE, sensors), slot_seconds=slot_seconds)
    lines = [_line(candidate, results.row(candidate, sensors), baseline) for candidate in CANDIDATES]
    lines.append(_cells("triggers that only sleep", results.sleeping(sensors), baseline))
    return "\n".join([HEAD.format(sensors=f"{sensors:,} sensor{'s' * (sensors > 1)} waiting"), *lines])


def _line(candidate: Candidate, row: Row, baseline: Row) -> str:
    return _cells(candidate.title, row, baseline)


def _cells(title: str, row: Row, baseline: Row) -> str:
    cells = [_cell(getattr(row, name), getattr(baseline, name), _note(row, name)) for name in COLUMNS]
    return f"| {title} | " + " | ".join(cells) + " |"


def _note(row: Row, name: str) -> str:
    if name in row.computed:
        return COMPUTED
    return " ³" if row.until_event and name.endswith("_success") else ""


def _cell(value: float | None, baseline: float | None, note: str = "") -> str:
    if value is None:
        return "–"
    ratio = f" (×{_number(value / baseline)})" if baseline and value and value != baseline else ""
    text = f"{_number(value)}{ratio}"
    return f"*≈ {text}*{note}" if note == COMPUTED else f"{text}{note}"


def _number(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if value >= 20 or not value else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _imports(results: Results) -> str:
    baseline, baseline_modules = results.import_cost(DEFERRABLE)
    costs = {candidate: results.import_cost(candidate) for candidate in CANDIDATES}
    lines = [
        f"| {candidate.title} | {_cell(milliseconds, baseline)} | {_cell(modules, baseline_modules)} |"
        for candidate, (milliseconds, modules) in costs.items()
    ]
    return "\n".join([IMPORTS, *lines])


def _notes(results: Results) -> str:
    many = results.many[DEFERRABLE.name]
    return NOTES.format(
        many=results.plan.many,
        start=(many.last_success - many.first_success) / max(results.plan.many - 1, 1),
    )
