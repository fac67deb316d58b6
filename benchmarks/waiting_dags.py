"""The DAGs of a contender: some with one gate, one with many. Which of them is said by the environment."""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import TYPE_CHECKING

from airflow.sdk import DAG

from benchmarks.plan import SETTING

if TYPE_CHECKING:
    from collections.abc import Callable


def build_dags(contender: str, gate: Callable[[str, str, float], object]) -> None:
    """
    Build the DAGs of a contender; each has a connection of its own, named like the DAG.

    :param contender: Its name, with which the ids of its DAGs begin.
    :param gate: Makes a gate of a task id, a connection id and an interval.
    """
    setting = json.loads(os.environ.get(SETTING, f'{{"interval": 60, "gates": {{"{contender}_alone": 1}}}}'))
    for dag_id, gates in setting["gates"].items():
        if dag_id.startswith(contender):
            with DAG(dag_id, schedule=None, start_date=datetime(2026, 1, 1)):
                for number in range(gates):
                    gate(f"gate_{number}", dag_id, setting["interval"])
