"""What the operator refuses when the DAG is parsed, and what it leaves to the run."""

from __future__ import annotations

import runpy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_leadmagic.compat.imports import ObjectStoragePath
from airflow_provider_leadmagic.operators import bulk
from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator

GOOD = {"task_id": "enrich", "product": "email_finder", "output_path": "enriched.csv"}


@pytest.mark.parametrize("given", [{}, {"rows": [], "input_path": "leads.csv"}])
def test_either_rows_or_a_file_are_needed(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Either rows or input_path must be given, and not both"):
        BulkEnrichmentOperator(**GOOD, **given)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("on_insufficient", "skip"),
        ("resume_when_paused", "yes"),
        ("deferrable", 1),
        ("poll_interval", 0),
        ("poll_interval", True),
        ("timeout", timedelta(0)),
        ("timeout", float("nan")),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named(argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{argument} must be "):
        BulkEnrichmentOperator(**GOOD, rows=[], **{argument: value})


@pytest.mark.parametrize(
    "values",
    [
        {"product": "{{ params.product }}", "max_credits": "{{ params.limit }}", "minimum_balance_after": "{{ 1 }}"},
        {"rows": "{{ ti.xcom_pull(task_ids='load') }}", "leadmagic_conn_id": "{{ params.account }}"},
        {"input_path": "s3://leads/{{ ds }}.csv", "output_path": "s3://leads/{{ ds }}.enriched.csv"},
    ],
)
def test_what_is_a_template_is_judged_when_it_runs(values: dict[str, Any]) -> None:
    rows = {} if "input_path" in values or "rows" in values else {"rows": []}

    operator = BulkEnrichmentOperator(**{**GOOD, **rows, **values})

    assert set(values) <= set(operator.template_fields)
    assert {name: getattr(operator, name) for name in values} == values


def test_it_is_patient_and_polite_unless_told_otherwise() -> None:
    operator = BulkEnrichmentOperator(**GOOD, rows=[])

    assert (operator.poll_interval, operator.timeout) == (60, 7 * 86_400)
    assert (operator.on_insufficient, operator.resume_when_paused) == ("wait", True)
    assert (operator.minimum_balance_after, operator.max_credits) == (0, None)


@pytest.mark.parametrize("setting", [True, False])
def test_it_waits_where_airflow_says_that_tasks_wait_by_default(monkeypatch: pytest.MonkeyPatch, setting: bool) -> None:
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", str(setting))

    as_imported_now = runpy.run_path(bulk.__file__)["BulkEnrichmentOperator"]

    assert as_imported_now(**GOOD, rows=[]).deferrable is setting


def test_lengths_of_time_may_be_timedeltas() -> None:
    operator = BulkEnrichmentOperator(**GOOD, rows=[], poll_interval=timedelta(minutes=2), timeout=timedelta(days=1))

    assert (operator.poll_interval, operator.timeout) == (120, 86_400)


@pytest.mark.parametrize("url", ["/leads/in.csv", "s3://leads_account@leads/in.csv"])
@pytest.mark.parametrize("argument", ["input_path", "output_path"])
def test_path_objects_become_text_that_every_airflow_can_render(argument: str, url: str) -> None:
    path = ObjectStoragePath(url) if "://" in url else Path(url)
    given = {**GOOD, "rows": None if argument == "input_path" else [], argument: path}

    assert getattr(BulkEnrichmentOperator(**given), argument) == url
