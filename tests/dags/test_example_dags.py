"""The examples import, are well-behaved, and run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from demo.local_airflow import IS_AIRFLOW_3
from tests.dags.conftest import run_dag

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

pytestmark = pytest.mark.e2e

EXAMPLES = ["example_leadmagic_check_credits", "example_leadmagic_gated_enrichment"]
if IS_AIRFLOW_3:
    EXAMPLES += ["example_leadmagic_low_credits_alert", "example_leadmagic_start_when_topped_up"]


def test_every_dag_file_imports(dag_bag: Any) -> None:
    assert dag_bag.import_errors == {}
    assert sorted(dag_id for dag_id in dag_bag.dags if dag_id.startswith("example_")) == EXAMPLES


@pytest.mark.parametrize("dag_id", EXAMPLES)
def test_an_example_has_sane_settings_and_says_what_it_is(dag_bag: Any, dag_id: str) -> None:
    dag = dag_bag.dags[dag_id]

    assert "leadmagic" in dag.tags
    assert dag.doc_md
    assert dag.max_active_runs == 1
    assert dag.default_args["retries"] == 2


def test_the_check_passes_the_balance_on(dag_bag: Any, leadmagic_sandbox: Sandbox) -> None:
    run = run_dag(dag_bag.dags["example_leadmagic_check_credits"])

    assert run.state == "success"
    assert run.xcom_of("plan_the_night") == 1000


def test_the_gated_enrichment_spends_what_it_says(dag_bag: Any, leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.set_credits("5.5")

    run = run_dag(dag_bag.dags["example_leadmagic_gated_enrichment"])

    assert run.state == "success"
    assert run.xcom_of("enrich_leads") == {"leads": 5, "found": 5, "spent": 5, "left": "0.50"}
    assert [request.path for request in leadmagic_sandbox.requests] == ["/v1/credits"] + ["/v1/people/email-finder"] * 5


def test_a_task_that_spends_is_not_repeated_blindly(dag_bag: Any) -> None:
    assert dag_bag.dags["example_leadmagic_gated_enrichment"].get_task("enrich_leads").retries == 0
