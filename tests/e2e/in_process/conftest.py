"""Run whole DAGs in the test process, with Airflow's ``dag.test()``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dev.local_airflow import IS_AIRFLOW_3
from tests.support.airflow_home import DAGS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def dag_bag(airflow_database: Path) -> Any:
    """Load all DAGs of the DAGs folder: the examples and the DAGs of the tests."""
    try:
        from airflow.dag_processing.dagbag import DagBag  # Airflow 3.2+
    except ImportError:
        from airflow.models.dagbag import DagBag

    if IS_AIRFLOW_3:
        from airflow.dag_processing.bundles.manager import DagBundlesManager

        DagBundlesManager().sync_bundles_to_db()
    return DagBag(str(DAGS))


class Run:
    """The task states and XComs of a finished run."""

    def __init__(self, dag_run: Any) -> None:
        self.state = str(dag_run.state)
        self._instances = {(ti.task_id, ti.map_index): ti for ti in dag_run.get_task_instances()}

    def state_of(self, task_id: str, map_index: int = -1) -> str:
        return str(self._instances[task_id, map_index].state)

    def xcom_of(self, task_id: str, map_index: int = -1, key: str = "return_value") -> Any:
        return self._instances[task_id, map_index].xcom_pull(task_ids=task_id, map_indexes=map_index, key=key)


def run_dag(dag: Any) -> Run:
    """Run a DAG until it ends."""
    return Run(dag.test())
