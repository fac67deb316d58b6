"""What an OpenLineage backend receives from a bulk task. Needs its provider: make test-openlineage."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from dev.local_airflow import LocalAirflow
from tests.support.airflow_home import REPOSITORY
from tests.support.airflow_names import HAS_OPENLINEAGE
from tests.support.listeners import LineageBackend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not HAS_OPENLINEAGE, reason="needs OpenLineage: make test-openlineage"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the files: seven leads, of which the job rejects one."""
    folder = tmp_path_factory.mktemp("lineage")
    names = [f"Lead {number}" for number in range(6)] + ["invalid"]
    (folder / "leads.csv").write_text("full_name,domain\n" + "".join(f"{name},example.com\n" for name in names))
    return folder


@pytest.fixture(scope="module")
def events(folder: Path) -> Iterator[list[dict[str, Any]]]:
    """Run the task, and return the events that it has sent."""
    with Sandbox() as sandbox, LineageBackend() as backend:
        settings = {
            **backend.settings,
            "AIRFLOW_CONN_LEADMAGIC_DEFAULT": sandbox.connection_json,
            "LEADMAGIC_TEST_LINEAGE_FOLDER": str(folder),
        }
        airflow = LocalAirflow(folder / "airflow", REPOSITORY / "tests" / "e2e" / "lineage_dags", settings)
        airflow.home.mkdir()
        airflow.run("db", "migrate")
        airflow.run("dags", "test", "lineage")
        yield [event for event in backend.events if event["job"]["name"] == "lineage.enrich"]


def test_the_end_of_the_task_names_its_files_with_their_number_of_rows(
    events: list[dict[str, Any]], folder: Path
) -> None:
    [end] = [event for event in events if event["eventType"] == "COMPLETE"]

    assert [(file["namespace"], file["name"]) for file in end["inputs"]] == [("file", f"{folder}/leads.csv")]
    rows = {file["name"]: file["outputFacets"]["outputStatistics"]["rowCount"] for file in end["outputs"]}
    assert rows == {f"{folder}/found.csv": 6, f"{folder}/found.errors.csv": 1}


def test_no_event_contains_a_row_or_the_key(events: list[dict[str, Any]]) -> None:
    text = json.dumps(events)

    assert "Lead 1" not in text
    assert "sandbox-key" not in text
