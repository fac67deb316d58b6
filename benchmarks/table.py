"""The table of the documentation, as Markdown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.contenders import CONTENDERS, OURS, OURS_RESCHEDULED, Contender

if TYPE_CHECKING:
    from benchmarks.results import Results, Row

HEAD = """\
| {gates} | requests per interval | worker-slot seconds per hour | triggerer CPU, % of a core | triggerer memory, MB | \
first gate open, s | last gate open, s |
|---|--:|--:|--:|--:|--:|--:|"""

COLUMNS = ("looks", "slot_seconds", "cpu_percent", "memory_mb", "first_open", "last_open")
COMPUTED = " ²"

IMPORTS = """\
| a DAG file with one gate | import, ms | modules |
|---|--:|--:|"""

NOTES = """\
In brackets: how many times ours; of slot seconds, of which our deferrable gate takes none, our rescheduled one.
*Italic with ≈*: computed, not measured. –: there is no such thing, or it cannot be run here.

¹ With a `response_check`, `HttpSensor(deferrable=True)` does not defer: its `execute` goes to the base class, as in the
mode `poke`, and the gate sits in its worker slot until it opens. (Without a `response_check` it would defer, and open
at any answer but an error.) Where it is computed: a slot for each gate, all the time.

² Computed. Of rescheduled gates: a look of each, and the slot seconds of {many} of them in proportion; so many looks
take more slots, and more cores, than this machine has. Of deferred gates: they occupy none.

³ Until the trigger fires. Airflow then starts each task once more, which took about {start:.1f} s for each gate when
{many} opened.
"""


def markdown(results: Results) -> str:
    """Write all that was measured as tables."""
    blocks = [_waiting(results, gates) for gates in results.plan.sizes]
    return "\n\n".join([results.machine, *blocks, _imports(results), _notes(results)])


def _waiting(results: Results, gates: int) -> str:
    ours = replace(results.row(OURS, gates), slot_seconds=results.row(OURS_RESCHEDULED, gates).slot_seconds)
    lines = [_line(contender, results.row(contender, gates), ours) for contender in CONTENDERS]
    lines.append(_cells("triggers that only sleep", results.sleeping(gates), ours))
    return "\n".join([HEAD.format(gates=f"{gates:,} gate{'s' * (gates > 1)} waiting"), *lines])


def _line(contender: Contender, row: Row, ours: Row) -> str:
    return _cells(contender.title, row, ours)


def _cells(title: str, row: Row, ours: Row) -> str:
    cells = [_cell(getattr(row, name), getattr(ours, name), _note(row, name)) for name in COLUMNS]
    return f"| {title} | " + " | ".join(cells) + " |"


def _note(row: Row, name: str) -> str:
    if name in row.computed:
        return COMPUTED
    return " ³" if row.until_event and name.endswith("_open") else ""


def _cell(value: float | None, ours: float | None, note: str = "") -> str:
    if value is None:
        return "–"
    ratio = f" (×{_number(value / ours)})" if ours and value and value != ours else ""
    text = f"{_number(value)}{ratio}"
    return f"*≈ {text}*{note}" if note == COMPUTED else f"{text}{note}"


def _number(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if value >= 20 or not value else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _imports(results: Results) -> str:
    ours, our_modules = results.import_cost(OURS)
    costs = {contender: results.import_cost(contender) for contender in CONTENDERS}
    lines = [
        f"| {contender.title} | {_cell(milliseconds, ours)} | {_cell(modules, our_modules)} |"
        for contender, (milliseconds, modules) in costs.items()
    ]
    return "\n".join([IMPORTS, *lines])


def _notes(results: Results) -> str:
    many = results.many[OURS.name]
    return NOTES.format(
        many=results.plan.many,
        start=(many.last_open - many.first_open) / max(results.plan.many - 1, 1),
    )
