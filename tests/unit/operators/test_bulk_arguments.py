"""Arguments that are validated when the DAG is parsed, and templates that are validated at run time."""

from __future__ import annotations

import runpy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_leadmagic.bulk.rows import row_source
from airflow_provider_leadmagic.compat.imports import ObjectStoragePath
from airflow_provider_leadmagic.operators import bulk
from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator
from tests.support.airflow_names import DAG
from tests.support.bulk_task_runner import TaskInstance

VALID = {"task_id": "enrich", "product": "email_finder", "output_path": "enriched.csv"}


@pytest.mark.parametrize(("given", "got"), [({}, "neither"), ({"rows": [], "input_path": "leads.csv"}, "both")])
def test_either_rows_or_input_path_is_required(given: dict[str, Any], got: str) -> None:
    with pytest.raises(ValueError, match=f"^Exactly one of rows and input_path must be given; got {got}$"):
        BulkEnrichmentOperator(**VALID, **given)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("on_insufficient", "skip"),
        ("on_empty", "ignore"),
        ("on_invalid_rows", "ignore"),
        ("escape_formulas", "yes"),
        ("delimiter", ";;"),
        ("delimiter", ""),
        ("delimiter", '"'),
        ("delimiter", 7),
        ("resume_when_paused", "yes"),
        ("deferrable", 1),
        ("poll_interval", 0),
        ("poll_interval", True),
        ("timeout", timedelta(0)),
        ("timeout", float("nan")),
    ],
)
def test_an_invalid_argument_is_rejected(argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{argument} must be "):
        BulkEnrichmentOperator(**VALID, rows=[], **{argument: value})


@pytest.mark.parametrize(
    "values",
    [
        {"product": "{{ params.product }}", "max_credits": "{{ params.limit }}", "minimum_balance_after": "{{ 1 }}"},
        {"rows": "{{ ti.xcom_pull(task_ids='load') }}", "leadmagic_conn_id": "{{ params.account }}"},
        {"input_path": "s3://leads/{{ ds }}.csv", "output_path": "s3://leads/{{ ds }}.enriched.csv"},
    ],
)
def test_templates_are_not_validated_when_the_dag_is_parsed(values: dict[str, Any]) -> None:
    rows = {} if "input_path" in values or "rows" in values else {"rows": []}

    operator = BulkEnrichmentOperator(**{**VALID, **rows, **values})

    assert set(values) <= set(operator.template_fields)
    assert {name: getattr(operator, name) for name in values} == values


def test_defaults() -> None:
    operator = BulkEnrichmentOperator(**VALID, rows=[])

    assert (operator.poll_interval, operator.timeout) == (60, 7 * 86_400)
    assert (operator.on_insufficient, operator.resume_when_paused) == ("wait", True)
    assert (operator.minimum_balance_after, operator.max_credits) == (0, None)


@pytest.mark.parametrize("setting", [True, False])
def test_deferrable_defaults_to_the_setting_of_airflow(monkeypatch: pytest.MonkeyPatch, setting: bool) -> None:
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", str(setting))

    reimported = runpy.run_path(bulk.__file__)["BulkEnrichmentOperator"]

    assert reimported(**VALID, rows=[]).deferrable is setting


def test_durations_may_be_timedeltas() -> None:
    operator = BulkEnrichmentOperator(**VALID, rows=[], poll_interval=timedelta(minutes=2), timeout=timedelta(days=1))

    assert (operator.poll_interval, operator.timeout) == (120, 86_400)


@pytest.mark.parametrize("url", ["/leads/in.csv", "s3://leads_account@leads/in.csv"])
@pytest.mark.parametrize("argument", ["input_path", "output_path"])
def test_path_objects_are_converted_to_text_for_rendering(argument: str, url: str) -> None:
    path = ObjectStoragePath(url) if "://" in url else Path(url)
    given = {**VALID, "rows": None if argument == "input_path" else [], argument: path}

    assert getattr(BulkEnrichmentOperator(**given), argument) == url


@pytest.mark.parametrize("native", [False, True], ids=["text", "native"])
@pytest.mark.parametrize("mapped", [False, True], ids=["not mapped", "mapped"])
def test_rows_rendered_by_tojson_keep_the_order_of_their_columns(mapped: bool, native: bool) -> None:
    template = {"rows": "{{ params.leads | tojson }}"}
    with DAG("tojson", schedule=None, render_template_as_native_obj=native) as dag:
        if mapped:
            operator = BulkEnrichmentOperator.partial(**VALID).expand(rows=[template["rows"]])
        else:
            operator = BulkEnrichmentOperator(**VALID, **template)
    task_instance: Any = TaskInstance()
    task_instance.task = operator
    context: Any = {
        "ti": task_instance,
        "task": operator,
        "params": {"leads": [{"zip": 1, "email": "a@x.example"}]},
        "expanded_ti_count": 1,
    }
    if mapped:
        operator = operator.unmap(template)

    operator.render_template_fields(context, dag.get_template_env())  # as Airflow renders mapped tasks

    [row] = row_source(rows=operator.rows)
    assert list(row) == ["zip", "email"]
