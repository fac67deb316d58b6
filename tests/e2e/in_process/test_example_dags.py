"""The example DAGs import, have sensible settings, and run successfully."""

from __future__ import annotations

import csv
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from dev.local_airflow import IS_AIRFLOW_3
from tests.e2e.in_process.conftest import run_dag
from tests.support.airflow_home import HOME

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

pytestmark = pytest.mark.e2e

BULK, GATED = "example_leadmagic_bulk_enrichment", "example_leadmagic_gated_enrichment"
SHARED = ["example_leadmagic_shared_account_marketing", "example_leadmagic_shared_account_sales"]
EXAMPLES = [BULK, "example_leadmagic_check_credits", GATED, *SHARED]
if IS_AIRFLOW_3:
    EXAMPLES += ["example_leadmagic_low_credits_alert", "example_leadmagic_start_when_topped_up"]

# Set at import and not in a fixture, because the first test that needs the DagBag loads it for all tests.
os.environ["LEADMAGIC_EXAMPLE_FOLDER"] = str(HOME)
os.environ["LEADMAGIC_EXAMPLE_CLAIM_SETTLE"] = "1"
os.environ["LEADMAGIC_EXAMPLE_POKE_INTERVAL"] = "1"


def test_every_dag_file_imports(dag_bag: Any) -> None:
    assert dag_bag.import_errors == {}
    assert sorted(dag_id for dag_id in dag_bag.dags if dag_id.startswith("example_")) == sorted(EXAMPLES)


@pytest.mark.parametrize("dag_id", EXAMPLES)
def test_an_example_has_sensible_settings_and_documentation(dag_bag: Any, dag_id: str) -> None:
    dag = dag_bag.dags[dag_id]

    assert "leadmagic" in dag.tags
    assert dag.doc_md
    assert dag.max_active_runs == 1
    assert dag.default_args["retries"] == 2


def test_the_check_passes_the_balance_to_the_next_task(dag_bag: Any, leadmagic_sandbox: Sandbox) -> None:
    run = run_dag(dag_bag.dags["example_leadmagic_check_credits"])

    assert run.state == "success"
    assert run.xcom_of("calculate_batch_size") == 1000


def test_the_gated_enrichment_checks_waits_and_enriches_in_this_order(dag_bag: Any) -> None:
    dag = dag_bag.dags[GATED]
    check, wait, enrich = (dag.get_task(task_id) for task_id in ("check_credits", "wait_for_credits", "enrich_leads"))

    assert [task.task_type for task in (check, wait, enrich)] == [
        "CheckCreditsOperator",
        "SufficientCreditsSensor",
        "BulkEnrichmentOperator",
    ]
    assert "check_credits" in wait.upstream_task_ids
    assert "wait_for_credits" in enrich.upstream_task_ids


def test_the_gated_enrichment_reports_what_it_spends(dag_bag: Any, leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.set_credits("5.5")

    run = run_dag(dag_bag.dags[GATED])

    assert run.state == "success"
    job = run.xcom_of("enrich_leads")
    assert (job["total_rows"], job["credits_estimated"], job["credits_consumed"]) == (5, 5, 4)
    assert leadmagic_sandbox.credits == 1.5
    assert [request.path for request in leadmagic_sandbox.requests][:2] == ["/v1/credits", "/v1/credits"]
    assert len(leadmagic_sandbox.bulk_jobs) == 1


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="Airflow 2 has no asset watchers")
def test_a_task_that_pays_for_single_lookups_has_no_retries(dag_bag: Any) -> None:
    assert dag_bag.dags["example_leadmagic_start_when_topped_up"].get_task("enrich_backlog").retries == 0


def test_the_bulk_enrichment_reports_what_it_spends_and_writes_a_file(dag_bag: Any, leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.set_credits("5.5")

    run = run_dag(dag_bag.dags[BULK])

    assert run.state == "success"
    job = run.xcom_of("enrich_leads")
    assert (job["succeeded"], job["failed"], job["skipped"]) == (5, 0, 0)
    assert (job["credits_estimated"], job["credits_consumed"]) == (5, 4)
    assert leadmagic_sandbox.credits == 1.5
    with open(job["output_path"], newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["crm_id"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [bool(row["lm_email"]) for row in rows] == [True, True, True, True, False]


@pytest.mark.parametrize("dag_id", [BULK, GATED])
def test_the_bulk_task_has_retries_because_they_join_its_job(dag_bag: Any, dag_id: str) -> None:
    assert dag_bag.dags[dag_id].get_task("enrich_leads").retries == 2


def test_teams_that_share_an_account_claim_in_the_same_pool(dag_bag: Any) -> None:
    marketing, sales = (dag_bag.dags[dag_id] for dag_id in SHARED)
    claiming = [marketing.get_task("wait_for_credits"), sales.get_task("enrich_leads")]

    assert [(task.claim_pool, task.pool) for task in claiming] == [("leadmagic", "leadmagic")] * 2


@pytest.mark.parametrize(("dag_id", "claiming"), [(SHARED[0], "wait_for_credits"), (SHARED[1], "enrich_leads")])
def test_a_team_claims_the_most_that_its_leads_can_cost(
    dag_bag: Any, leadmagic_sandbox: Sandbox, dag_id: str, claiming: str
) -> None:
    leadmagic_sandbox.set_credits(4)

    run = run_dag(dag_bag.dags[dag_id])

    assert run.state == "success"
    assert leadmagic_sandbox.credits == 2  # for two of the four leads LeadMagic finds nothing
    xcom = run.xcom_of(claiming)
    assert xcom.get("minimum_credits", xcom.get("credits_estimated")) == 4


def test_the_documented_command_creates_the_claim_pool(dag_bag: Any, airflow_database: Path) -> None:
    [command] = re.findall(r"^airflow (pools set .*)$", dag_bag.dags[SHARED[0]].doc_md, re.MULTILINE)

    done = subprocess.run([sys.executable, "-m", "airflow", *shlex.split(command)], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr[-3000:]
    with closing(sqlite3.connect(airflow_database)) as database:
        pools = database.execute("SELECT slots, include_deferred FROM slot_pool WHERE pool = 'leadmagic'")
        assert pools.fetchall() == [(1, 0)]
