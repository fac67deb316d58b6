"""Who is compared: the gates of this package, and what people use for the purpose today."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Waits(Enum):
    """Where a gate is between two looks."""

    IN_THE_TRIGGERER = "triggerer"
    RESCHEDULED = "nowhere: each look is a task of its own"
    ON_A_WORKER = "worker slot"


@dataclass(frozen=True)
class Contender:
    """
    A way to wait for credits; its DAG file is ``dags/NAME.py``.

    :param name: Its short name.
    :param title: What the table calls it.
    :param waits: Where it waits.
    :param trigger: Its trigger, if it has one.
    """

    name: str
    title: str
    waits: Waits
    trigger: str | None = None


OURS = Contender(
    "ours_deferrable",
    "**`SufficientCreditsSensor`, deferrable**",
    Waits.IN_THE_TRIGGERER,
    "airflow_provider_leadmagic.triggers.credits.SufficientCreditsTrigger",
)
OURS_RESCHEDULED = Contender("ours_reschedule", "`SufficientCreditsSensor`, reschedule", Waits.RESCHEDULED)
OWN_TRIGGER = Contender(
    "own_trigger", "deferrable sensor written by hand", Waits.IN_THE_TRIGGERER, "benchmarks.own_trigger.BalanceTrigger"
)
HTTP_DEFERRABLE = Contender("http_deferrable", "`HttpSensor`, deferrable ¹", Waits.ON_A_WORKER)
CONTENDERS = (
    OURS,
    OURS_RESCHEDULED,
    OWN_TRIGGER,
    Contender("http_reschedule", "`HttpSensor`, reschedule", Waits.RESCHEDULED),
    HTTP_DEFERRABLE,
    Contender("python_reschedule", "`PythonSensor`, reschedule", Waits.RESCHEDULED),
)
