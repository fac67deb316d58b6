"""Tests of the links on a task's page: their URLs, their registration, and their serialization by Airflow."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from importlib import import_module
from importlib.resources import files
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from airflow_provider_leadmagic.compat.imports import BaseOperatorLink
from airflow_provider_leadmagic.get_provider_info import get_provider_info
from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator
from airflow_provider_leadmagic.operators.credits import CheckCreditsOperator
from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor
from dev.local_airflow import IS_AIRFLOW_3
from tests.support.airflow_names import DAG

if TYPE_CHECKING:
    from collections.abc import Callable

URLS = {
    "LeadMagic usage": "https://app.leadmagic.io/api/reporting",
    "LeadMagic billing": "https://app.leadmagic.io/settings/billing",
}
WITH_LINKS = [CheckCreditsOperator, SufficientCreditsSensor, BulkEnrichmentOperator]
TASKS = ["check", "wait_for_credits", "enrich", "mapped_check", "mapped_wait", "mapped_enrich"]
ENRICH = {"product": "email_finder", "output_path": "enriched.csv"}
REGISTERED = get_provider_info()["extra-links"]


def serialized_dag() -> Any:
    """Return a DAG as the scheduler and the web server load it: serialized to JSON and back."""
    with DAG("links", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        CheckCreditsOperator(task_id="check")
        SufficientCreditsSensor(task_id="wait_for_credits", minimum_credits=1)
        BulkEnrichmentOperator(task_id="enrich", rows=[], **ENRICH)
        CheckCreditsOperator.partial(task_id="mapped_check").expand(minimum_credits=[1, 2])
        SufficientCreditsSensor.partial(task_id="mapped_wait").expand(minimum_credits=[1, 2])
        BulkEnrichmentOperator.partial(task_id="mapped_enrich", **ENRICH).expand(rows=[[], []])
    try:
        from airflow.serialization.serialized_objects import DagSerialization as Serialized  # Airflow 3.2+
    except ImportError:
        from airflow.serialization.serialized_objects import SerializedDAG as Serialized
    return Serialized.from_dict(json.loads(json.dumps(Serialized.to_dict(dag))))


@pytest.fixture
def airflow_output(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Return a function that returns what Airflow logged or printed; the channel depends on its version."""
    caplog.set_level(logging.INFO)
    return lambda: "".join([caplog.text, *capsys.readouterr()])


@pytest.mark.parametrize("task_class", WITH_LINKS)
def test_links_lead_to_billing_and_usage(task_class: Any) -> None:
    links = task_class.operator_extra_links

    assert {link.name: link.get_link(None, ti_key=None) for link in links} == URLS


@pytest.mark.parametrize("task_id", TASKS)
def test_serialized_tasks_keep_their_links(task_id: str) -> None:
    assert sorted(serialized_dag().get_task(task_id).extra_links) == sorted(URLS)


def test_airflow_does_not_report_an_unregistered_link(airflow_output: Callable[[], str]) -> None:
    serialized_dag()

    assert "not registered" not in airflow_output()


@pytest.mark.skipif(IS_AIRFLOW_3, reason="Airflow 3 reads links from XComs: see the end-to-end tests")
@pytest.mark.parametrize("task_id", TASKS)
def test_airflow_2_web_server_computes_the_urls(task_id: str) -> None:
    task = serialized_dag().get_task(task_id)

    assert {name: task.get_extra_links(SimpleNamespace(key=None), name) for name in task.extra_links} == URLS


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="only Airflow 3 stores links as XComs")
@pytest.mark.parametrize("task_class", WITH_LINKS)
def test_each_link_has_its_own_xcom_key(task_class: Any) -> None:
    keys = [link.xcom_key for link in task_class.operator_extra_links]

    assert sorted(keys) == ["_link_LeadMagicBillingLink", "_link_LeadMagicUsageLink"]


@pytest.mark.parametrize("name", REGISTERED)
def test_every_registered_link_exists(name: str) -> None:
    module, _, class_name = name.rpartition(".")

    assert issubclass(getattr(import_module(module), class_name), BaseOperatorLink)


@pytest.mark.parametrize("task_class", WITH_LINKS)
def test_every_link_in_use_is_registered(task_class: Any) -> None:
    used = [f"{type(link).__module__}.{type(link).__name__}" for link in task_class.operator_extra_links]

    assert sorted(used) == sorted(REGISTERED)


def test_provider_info_matches_the_schema() -> None:
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())

    jsonschema.validate(get_provider_info(), schema)
