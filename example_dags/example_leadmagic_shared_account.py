"""
### Two teams, one LeadMagic account

Two independent DAGs spend credits of the same account. Suppose that the balance is 100 credits and that each DAG needs
80. If both check the balance at the same time, both find it sufficient, but together they need 160. LeadMagic cannot
reserve credits, so only one task at a time may check the balance and spend it.

An Airflow pool with one slot ensures this if it includes deferred tasks: a task holds the slot from its balance check
until its bulk job has ended. The second task then checks what the first task has left.

```
airflow pools set leadmagic_account 1 "Tasks that spend from the LeadMagic account" --include-deferred
```

Without this pool, Airflow does not start the tasks. Without `--include-deferred`, a task releases its slot when it is
deferred, and the second task can check the balance too early.
"""

from __future__ import annotations

import os
import tempfile
from datetime import datetime, timedelta

try:
    from airflow.sdk import dag, task
except ModuleNotFoundError:  # Airflow 2.11
    from airflow.decorators import dag, task

from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator

#: In production, use storage that all workers share, such as s3://your-bucket/leads.
FOLDER = os.environ.get("LEADMAGIC_EXAMPLE_FOLDER", tempfile.gettempdir())
#: Seconds between two polls of the balance or the job. LeadMagic asks for at least 45; the demo sets 5 to be fast.
POLL_INTERVAL = float(os.environ.get("LEADMAGIC_EXAMPLE_POKE_INTERVAL", "60"))


def define_enrichment(team: str, product: str, leads: list[dict[str, str]]) -> None:
    """Define the DAG of one team."""

    @dag(
        dag_id=f"example_leadmagic_shared_account_{team}",
        schedule=None,  # in production: "@daily", for example
        start_date=datetime(2026, 1, 1),
        catchup=False,
        max_active_runs=1,
        default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
        tags=["leadmagic", "example"],
        doc_md=__doc__,
    )
    def enrichment() -> None:
        @task
        def load_leads() -> list[dict[str, str]]:
            """Return the leads to enrich. Replace this with your own query."""
            return leads

        BulkEnrichmentOperator(
            task_id="enrich_leads",
            product=product,
            rows=load_leads(),
            output_path=os.path.join(FOLDER, team + "_{{ run_id }}.csv"),
            minimum_balance_after=10,  # credits that this job must leave in the account
            pool="leadmagic_account",
            poll_interval=POLL_INTERVAL,
            timeout=timedelta(hours=12),
        )

    enrichment()


define_enrichment(
    "marketing",
    "email_finder",
    [{"full_name": "Ada Lovelace", "domain": "example.com"}, {"full_name": "Alan Turing", "domain": "example.com"}],
)
define_enrichment(
    "sales",
    "mobile_finder",
    [{"work_email": "grace.hopper@example.com"}, {"work_email": "barbara.liskov@example.com"}],
)
