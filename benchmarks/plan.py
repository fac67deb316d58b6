"""How much is measured: everything, or just enough to check that the benchmark still runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """
    How much is measured.

    :param interval: Seconds between two polls of a sensor.
    :param copies: Single-sensor DAGs per candidate, measured at the same time, each with its own account.
    :param many: Sensors that wait together under a real Airflow.
    :param most: Triggers in the largest standalone triggerer.
    :param windows: Number of measurements of each triggerer, of one interval each.
    :param imports: Imports of each DAG file.
    """

    interval: float
    copies: int
    many: int
    most: int
    windows: int
    imports: int

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The numbers of waiting sensors; the results have a table for each of them."""
        return 1, self.many, self.most


FULL = Plan(interval=60, copies=3, many=100, most=1000, windows=3, imports=9)
QUICK = Plan(interval=10, copies=1, many=4, most=20, windows=1, imports=2)

MINIMUM_CREDITS = 100
#: Balance of each account before the top-up, and the credits that the top-up adds.
BALANCE_BEFORE, TOP_UP = 1, 1000
#: Worker slots of the real Airflow.
SLOTS = 8

#: Environment variable with the settings of the DAG files: the poll interval, and the number of sensors by DAG ID.
SETTINGS_VARIABLE = "LEADMAGIC_BENCHMARK"
