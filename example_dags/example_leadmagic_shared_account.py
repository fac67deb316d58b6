"""
### Two teams, one LeadMagic account

Two DAGs that know nothing of each other spend from one balance. If both look at 100 credits, and each is about to
order for 80, both find that the credits suffice: together they need 160. LeadMagic reserves no credits for anybody, so
looking and spending must be one step that only one of them takes at a time.

That is what an Airflow pool of one slot does, provided that it counts deferred tasks: the slot is held from the
look at the balance until the job has ended. Whoever comes second sees what the first has left.

```
airflow pools set leadmagic_account 1 "Whoever spends from the LeadMagic account" --include-deferred
```

Without that pool Airflow does not start the tasks. Without `--include-deferred` a task gives its slot back as soon as
it waits in the triggerer, and the pool protects nothing.
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

#: In real life a place that every worker reaches, such as s3://your-bucket/leads.
FOLDER = os.environ.get("LEADMAGIC_EXAMPLE_FOLDER", tempfile.gettempdir())
#: Seconds between two looks. LeadMagic asks for 45 at least; the demo is in a hurry.
POLL_INTERVAL = float(os.environ.get("LEADMAGIC_EXAMPLE_POKE_INTERVAL", "60"))


def enrichment_of(team: str, product: str, leads: list[dict[str, str]]) -> None:
    """Define the DAG of a team."""

    @dag(
        dag_id=f"example_leadmagic_shared_account_{team}",
        schedule=None,  # "@daily" in real life
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
            """Stand in for your query."""
            return leads

        BulkEnrichmentOperator(
            task_id="enrich_leads",
            product=product,
            rows=load_leads(),
            output_path=os.path.join(FOLDER, team + "_{{ run_id }}.csv"),
            minimum_balance_after=10,
            pool="leadmagic_account",
            poll_interval=POLL_INTERVAL,
            timeout=timedelta(hours=12),
        )

    enrichment()


enrichment_of(
    "marketing",
    "email_finder",
    [{"full_name": "Ada Lovelace", "domain": "example.com"}, {"full_name": "Alan Turing", "domain": "example.com"}],
)
enrichment_of(
    "sales",
    "mobile_finder",
    [{"work_email": "grace.hopper@example.com"}, {"work_email": "barbara.liskov@example.com"}],
)
