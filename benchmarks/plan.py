"""How much is measured: in full, or as little as shows that the benchmark still runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """
    How much is measured.

    :param interval: Seconds from one look of a gate to the next.
    :param copies: How many gates that wait alone are measured at once, each with an account of its own.
    :param many: Gates that wait together under a real Airflow.
    :param lots: Gates that wait together in a triggerer alone.
    :param windows: How many intervals each triggerer is watched for.
    :param imports: How many times each DAG file is imported.
    """

    interval: float
    copies: int
    many: int
    lots: int
    windows: int
    imports: int

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Numbers of gates that the table is about."""
        return 1, self.many, self.lots


FULL = Plan(interval=60, copies=3, many=100, lots=1000, windows=3, imports=9)
QUICK = Plan(interval=10, copies=1, many=4, lots=20, windows=1, imports=2)

#: Credits that each gate waits for, and what its account has before and after the top-up.
NEEDED, TOO_FEW, ENOUGH = 100, 1, 1000
#: Worker slots of the Airflow that the gates run under.
SLOTS = 8

#: The environment variable that tells DAG files the interval and, by DAG id, how many gates there are.
SETTING = "LEADMAGIC_BENCHMARK"
