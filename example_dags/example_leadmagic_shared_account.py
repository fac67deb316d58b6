"""
### Two teams, one LeadMagic account

Two independent DAGs spend credits of the same account. Suppose that the balance is 6 credits and that each DAG can need
4. Both would find the balance sufficient, but together they can need 8, and one of them would stop half-way.

Here each DAG claims its credits first, so that the other one no longer counts on them. Marketing enriches leads one by
one after a sensor, whose claim ends when the enrichment has finished. Sales submits a bulk job, which claims its own
price. If both fit into the balance, they run at the same time; if not, the second one waits.

For each account, claims need a pool of their own with one slot:

```
airflow pools set leadmagic 1 "Claims on LeadMagic credits"
```
"""

from __future__ import annotations

import os
import tempfile
from datetime import datetime, timedelta
from typing import Any

try:
    from airflow.sdk import dag, task
except ModuleNotFoundError:  # Airflow 2.11
    from airflow.decorators import dag, task

from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator
from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor

CLAIM_POOL = "leadmagic"
#: In production, use storage that all workers share, such as s3://your-bucket/leads.
FOLDER = os.environ.get("LEADMAGIC_EXAMPLE_FOLDER", tempfile.gettempdir())
#: Seconds between two polls of the balance or the job. LeadMagic asks for at least 45; the demo sets 5 to be fast.
POLL_INTERVAL = float(os.environ.get("LEADMAGIC_EXAMPLE_POKE_INTERVAL", "60"))
#: Seconds for which a claim still counts after its end. The demo sets 2 to be fast.
CLAIM_SETTLE = float(os.environ.get("LEADMAGIC_EXAMPLE_CLAIM_SETTLE", "60"))

SETTINGS: dict[str, Any] = {
    "schedule": None,  # in production: "@daily", for example
    "start_date": datetime(2026, 1, 1),
    "catchup": False,
    "max_active_runs": 1,
    "default_args": {"retries": 2, "retry_delay": timedelta(minutes=1)},
    "tags": ["leadmagic", "example"],
    "doc_md": __doc__,
}


@dag(dag_id="example_leadmagic_shared_account_marketing", **SETTINGS)
def marketing() -> None:
    leads = [
        {"full_name": name, "domain": "example.com"}
        for name in ("Ada Lovelace", "Otto Notfound", "Alan Turing", "Ida Notfound")
    ]

    @task
    def enrich_leads() -> list[dict[str, Any]]:
        """Find the email address of each lead. A hit costs one credit."""
        from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

        with LeadMagicHook().get_conn() as client:
            return [client.enrich("email_finder", **lead) for lead in leads]

    @task
    def count_emails(found: list[dict[str, Any]]) -> int:
        """Return the number of emails. This task spends no credits, so the claim ends before it."""
        return sum(1 for each in found if each.get("email"))

    wait_for_credits = SufficientCreditsSensor(
        task_id="wait_for_credits",
        minimum_credits=len(leads),
        claim_pool=CLAIM_POOL,
        release_after=["enrich_leads"],
        claim_settle=CLAIM_SETTLE,
        deferrable=True,
        poke_interval=POLL_INTERVAL,
        timeout=timedelta(hours=12),
    )
    found = enrich_leads()
    wait_for_credits >> found
    count_emails(found)


@dag(dag_id="example_leadmagic_shared_account_sales", **SETTINGS)
def sales() -> None:
    @task
    def load_leads() -> list[dict[str, str]]:
        """Return the leads to enrich. Replace this with your own query."""
        names = ("Grace Hopper", "Max Notfound", "Mary Jackson", "Eva Notfound")
        return [{"full_name": name, "domain": "example.com"} for name in names]

    BulkEnrichmentOperator(
        task_id="enrich_leads",
        product="email_finder",
        rows=load_leads(),
        output_path=os.path.join(FOLDER, "sales_{{ run_id }}.csv"),
        claim_pool=CLAIM_POOL,
        claim_settle=CLAIM_SETTLE,
        deferrable=True,
        poll_interval=POLL_INTERVAL,
        timeout=timedelta(hours=12),
    )


marketing()
sales()
