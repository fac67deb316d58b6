"""Builds the DAGs of a candidate, with one or many sensors each, as an environment variable specifies."""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import TYPE_CHECKING

from airflow.sdk import DAG

from benchmarks.plan import SETTINGS_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable


def build_dags(candidate: str, build_sensor: Callable[[str, str, float], object]) -> None:
    """
    Build the DAGs of a candidate; the connection ID of each is its DAG ID.

    :param candidate: Name of the candidate, the prefix of its DAG IDs.
    :param build_sensor: Builds a sensor from a task ID, a connection ID and a poll interval in seconds.
    """
    setting = json.loads(
        os.environ.get(SETTINGS_VARIABLE, f'{{"interval": 60, "sensors": {{"{candidate}_alone": 1}}}}')
    )
    for dag_id, sensors in setting["sensors"].items():
        if dag_id.startswith(candidate):
            with DAG(dag_id, schedule=None, start_date=datetime(2026, 1, 1)):
                for number in range(sensors):
                    build_sensor(f"gate_{number}", dag_id, setting["interval"])
