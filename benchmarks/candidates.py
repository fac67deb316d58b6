"""The candidates of the comparison: the sensor of this package and its alternatives."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class WaitsIn(Enum):
    """Where a sensor waits between two polls."""

    TRIGGERER = "triggerer"
    NOTHING = "nothing: each poll starts the task again"
    WORKER_SLOT = "worker slot"


@dataclass(frozen=True)
class Candidate:
    """
    A way to wait for credits; its DAG file is ``dags/NAME.py``.

    :param name: Short name.
    :param title: Name in the tables, as Markdown.
    :param waits_in: What it occupies while it waits.
    :param trigger: Class path of its trigger, if it has one.
    """

    name: str
    title: str
    waits_in: WaitsIn
    trigger: str | None = None


DEFERRABLE = Candidate(
    "leadmagic_deferrable",
    "**`SufficientCreditsSensor`, deferrable**",
    WaitsIn.TRIGGERER,
    "airflow_provider_leadmagic.triggers.credits.SufficientCreditsTrigger",
)
RESCHEDULE = Candidate("leadmagic_reschedule", "`SufficientCreditsSensor`, reschedule", WaitsIn.NOTHING)
HANDWRITTEN = Candidate(
    "handwritten",
    "handwritten deferrable sensor",
    WaitsIn.TRIGGERER,
    "benchmarks.handwritten_sensor.BalanceTrigger",
)
CANDIDATES = (
    DEFERRABLE,
    RESCHEDULE,
    HANDWRITTEN,
    Candidate("http_reschedule", "`HttpSensor`, reschedule", WaitsIn.NOTHING),
    Candidate("http_deferrable", "`HttpSensor`, deferrable ¹", WaitsIn.WORKER_SLOT),
    Candidate("python_reschedule", "`PythonSensor`, reschedule", WaitsIn.NOTHING),
)
