"""The spending record of bulk tasks in a DAG run: as an XCom of each map index, and in the events of their assets."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from dev.local_airflow import AIRFLOW_SERIES, IS_AIRFLOW_3
from tests.e2e.in_process.conftest import Run, run_dag
from tests.support.airflow_home import HOME

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.e2e,
    # On Airflow 3.0, tests/e2e/test_bulk_in_airflow.py tests the record of a task with an asset.
    pytest.mark.skipif(AIRFLOW_SERIES == (3, 0), reason="dag.test() of Airflow 3.0 does not activate assets"),
]


@pytest.fixture(scope="module")
def run(dag_bag: Any) -> Iterator[Run]:
    with Sandbox() as sandbox, pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW_CONN_LEADMAGIC_DEFAULT", sandbox.connection_json)
        dag = dag_bag.dags["spending"]
        if not IS_AIRFLOW_3:  # dag.test() of Airflow 2 does not store the datasets of the DAG
            dag.bulk_write_to_db([dag])
        yield run_dag(dag)


def event_extras(task_id: str) -> list[dict[str, Any]]:
    """Return the extra of each asset event of a task, by map index."""
    table = "asset_event" if IS_AIRFLOW_3 else "dataset_event"
    statement = f"SELECT extra FROM {table} WHERE source_task_id = ? ORDER BY source_map_index"
    with closing(sqlite3.connect(HOME / "airflow.db")) as connection:
        return [json.loads(extra) for (extra,) in connection.execute(statement, [task_id])]


def test_all_tasks_succeed(run: Run) -> None:
    assert run.state == "success"


def test_each_mapped_task_has_a_record_and_an_asset_event_of_its_own(run: Run) -> None:
    records = [run.xcom_of("mapped", index, key="leadmagic") for index in range(2)]

    assert [(record["rows"], record["credits"]) for record in records] == [(1, 1), (2, 2)]
    assert event_extras("mapped") == [{"leadmagic": record} for record in records]


def test_multiple_outputs_are_pushed_beside_the_record(run: Run) -> None:
    result = run.xcom_of("several_xcoms")

    assert run.xcom_of("several_xcoms", key="leadmagic")["credits"] == result["credits_consumed"] == 3
    assert run.xcom_of("several_xcoms", key="job_id") == result["job_id"]


def test_without_do_xcom_push_only_the_asset_event_has_the_record(run: Run) -> None:
    assert run.xcom_of("without_xcoms", key="leadmagic") is None
    assert [extra["leadmagic"]["rows"] for extra in event_extras("without_xcoms")] == [4]


def test_an_asset_that_is_added_to_an_alias_keeps_its_extra(run: Run) -> None:
    assert event_extras("alias") == [{"team": "sales"}]
    assert run.xcom_of("alias", key="leadmagic")["rows"] == 5


def test_code_in_a_task_finds_the_ids_of_its_task(run: Run) -> None:
    assert run.xcom_of("running") == {"dag_id": "spending", "task_id": "running"}
