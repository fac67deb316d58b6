"""What a bulk task reports to OpenLineage. Needs the OpenLineage provider of Airflow: make test-openlineage."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.operators._bulk_reports import dataset_name
from tests.support.airflow_names import HAS_OPENLINEAGE
from tests.unit.operators.conftest import leads

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bulk_task_runner import Task
    from tests.unit.operators.conftest import MakeTask

with_provider = pytest.mark.skipif(not HAS_OPENLINEAGE, reason="needs OpenLineage: make test-openlineage")


@pytest.mark.parametrize(
    ("location", "dataset"),
    [
        ("/data/leads.csv", ("file", "/data/leads.csv")),
        ("/data/../leads?.csv", ("file", "/leads?.csv")),
        ("file:///data/leads.csv", ("file", "/data/leads.csv")),
        ("file://my_conn@/data/leads.csv", ("file", "/data/leads.csv")),
        ("s3://bucket/2026/leads?.csv", ("s3://bucket", "2026/leads?.csv")),
        ("s3://my_conn@bucket/leads@home.csv", ("s3://bucket", "leads@home.csv")),
        ("s3a://bucket/leads.csv", ("s3://bucket", "leads.csv")),
        ("gcs://my_conn@bucket/leads.csv", ("gs://bucket", "leads.csv")),
        ("hdfs://user:secret@host:8020/leads.csv", ("hdfs://host:8020", "leads.csv")),
        ("https://host/leads.csv?signature=secret", ("https://host", "leads.csv")),
    ],
)
def test_a_file_has_the_name_that_openlineage_gives_it(location: str, dataset: tuple[str, str]) -> None:
    assert dataset_name(location) == dataset


def test_a_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert dataset_name("leads.csv") == ("file", f"{tmp_path}/leads.csv")


def test_without_the_provider_nothing_is_returned(task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "airflow.providers.openlineage.extractors", None)

    operator = task().operator
    operator.execute(task().context)

    assert operator.get_openlineage_facets_on_complete(None) is None


def test_a_task_that_has_written_no_results_has_no_lineage(task: MakeTask) -> None:
    assert task().operator.get_openlineage_facets_on_complete(None) is None


def lineage_of(enrich: Task) -> Any:
    enrich.operator.execute(enrich.context)
    return enrich.operator.get_openlineage_facets_on_complete(None)


@with_provider
def test_the_input_file_is_an_input(task: MakeTask, tmp_path: Path) -> None:
    source = tmp_path / "leads.csv"
    source.write_text("full_name,domain\nAda Lovelace,example.com\n")

    [dataset] = lineage_of(task(input_path=source)).inputs

    assert (dataset.namespace, dataset.name) == ("file", str(source))


@with_provider
def test_rows_that_come_from_no_file_are_not_described(task: MakeTask) -> None:
    lineage = lineage_of(task())

    assert lineage.inputs == []
    assert "Lead 1" not in str(lineage)


@with_provider
def test_both_output_files_are_outputs_with_their_number_of_rows(task: MakeTask, output: Path) -> None:
    rows = [*leads(5), {"crm_id": 5, "full_name": "", "domain": ""}]

    outputs = lineage_of(task(rows=rows, on_invalid_rows="skip")).outputs

    counts = {dataset.name: dataset.outputFacets["outputStatistics"].rowCount for dataset in outputs}
    assert counts == {str(output): 5, str(output.with_suffix(".errors.csv")): 1}
    assert {dataset.namespace for dataset in outputs} == {"file"}
