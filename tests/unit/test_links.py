"""Links on a task's page: which there are, where they lead, and that Airflow does not lose them on the way."""

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

ADDRESSES = {
    "LeadMagic usage": "https://app.leadmagic.io/api/reporting",
    "LeadMagic billing": "https://app.leadmagic.io/settings/billing",
}
WITH_LINKS = [CheckCreditsOperator, SufficientCreditsSensor, BulkEnrichmentOperator]
TASKS = ["check", "gate", "enrich", "mapped_check", "mapped_gate", "mapped_enrich"]
ENRICH = {"product": "email_finder", "output_path": "enriched.csv"}
LISTED = get_provider_info()["extra-links"]


def read_from_the_database() -> Any:
    """Make a DAG, and make it again of the JSON that the scheduler and the web server have of it."""
    with DAG("links", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        CheckCreditsOperator(task_id="check")
        SufficientCreditsSensor(task_id="gate", minimum_credits=1)
        BulkEnrichmentOperator(task_id="enrich", rows=[], **ENRICH)
        CheckCreditsOperator.partial(task_id="mapped_check").expand(minimum_credits=[1, 2])
        SufficientCreditsSensor.partial(task_id="mapped_gate").expand(minimum_credits=[1, 2])
        BulkEnrichmentOperator.partial(task_id="mapped_enrich", **ENRICH).expand(rows=[[], []])
    try:
        from airflow.serialization.serialized_objects import DagSerialization as Serialized  # Airflow 3.2+
    except ImportError:
        from airflow.serialization.serialized_objects import SerializedDAG as Serialized
    return Serialized.from_dict(json.loads(json.dumps(Serialized.to_dict(dag))))


@pytest.fixture
def written(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Collect what Airflow writes, wherever its version does."""
    caplog.set_level(logging.INFO)
    return lambda: "".join([caplog.text, *capsys.readouterr()])


@pytest.mark.parametrize("task_class", WITH_LINKS)
def test_they_lead_to_where_credits_are_bought_and_to_where_they_went(task_class: Any) -> None:
    links = task_class.operator_extra_links

    assert {link.name: link.get_link(None, ti_key=None) for link in links} == ADDRESSES


@pytest.mark.parametrize("task_id", TASKS)
def test_the_web_server_knows_them_by_the_dag_in_the_database(task_id: str) -> None:
    assert sorted(read_from_the_database().get_task(task_id).extra_links) == sorted(ADDRESSES)


def test_airflow_misses_none_of_them(written: Callable[[], str]) -> None:
    read_from_the_database()

    assert "not registered" not in written()


@pytest.mark.skipif(IS_AIRFLOW_3, reason="Airflow 3 shows what the task left as XCom: see the end-to-end tests")
@pytest.mark.parametrize("task_id", TASKS)
def test_the_web_server_of_airflow_2_finds_out_by_itself_where_they_lead(task_id: str) -> None:
    task = read_from_the_database().get_task(task_id)

    assert {name: task.get_extra_links(SimpleNamespace(key=None), name) for name in task.extra_links} == ADDRESSES


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="only Airflow 3 keeps them as XCom")
@pytest.mark.parametrize("task_class", WITH_LINKS)
def test_each_is_an_xcom_of_its_own(task_class: Any) -> None:
    keys = [link.xcom_key for link in task_class.operator_extra_links]

    assert sorted(keys) == ["_link_LeadMagicBillingLink", "_link_LeadMagicUsageLink"]


@pytest.mark.parametrize("name", LISTED)
def test_every_one_that_airflow_is_told_of_exists(name: str) -> None:
    module, _, class_name = name.rpartition(".")

    assert issubclass(getattr(import_module(module), class_name), BaseOperatorLink)


@pytest.mark.parametrize("task_class", WITH_LINKS)
def test_airflow_is_told_of_every_one(task_class: Any) -> None:
    used = [f"{type(link).__module__}.{type(link).__name__}" for link in task_class.operator_extra_links]

    assert sorted(used) == sorted(LISTED)


def test_airflow_accepts_what_it_is_told() -> None:
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())

    jsonschema.validate(get_provider_info(), schema)
