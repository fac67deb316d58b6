"""What is tested: versions of Airflow, and of Python as far as each of them supports it."""

from __future__ import annotations

from dataclasses import dataclass

PYTHONS = ("3.11", "3.12", "3.13")
UP_TO_3_12 = PYTHONS[:2]


@dataclass(frozen=True)
class Version:
    """
    An Airflow with everything it is installed with.

    :param airflow: The version that has to be there in the end.
    :param pythons: The Pythons that it supports.
    :param pins: Name of the file in ``requirements/``; by default the one that is named after the version.
    :param may_fail: Whether a failure is a warning only.
    """

    airflow: str
    pythons: tuple[str, ...] = PYTHONS
    pins: str = ""
    may_fail: bool = False

    @property
    def name(self) -> str:
        """Name it, for the table and the command line."""
        return self.pins or self.airflow

    @property
    def requirements(self) -> str:
        """Tell the file that pins everything."""
        return f"requirements/{self.pins or f'airflow-{self.airflow}'}.txt"


MATRIX = (
    Version("2.11.0", UP_TO_3_12, pins="oldest"),
    Version("2.11.2", UP_TO_3_12),
    Version("3.0.6", UP_TO_3_12),
    Version("3.1.8"),
    Version("3.2.2"),
    Version("3.3.2"),
    Version("3.4.0b2", may_fail=True),
)
