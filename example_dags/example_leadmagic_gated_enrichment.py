"""
### Check the balance, wait until it is sufficient, then enrich

1. `check_credits` (`CheckCreditsOperator`) reads the balance and logs a warning if fewer than 1,000 credits are left.
2. `load_leads` loads the leads, and `estimate_credits` calculates the most they can cost.
3. `wait_for_credits` (`SufficientCreditsSensor`) waits until the balance covers that cost. An enrichment that starts
   with too few credits stops half-way, after it has spent all of them.
4. `enrich_leads` (`BulkEnrichmentOperator`) submits one bulk job and writes its results to a CSV file. A retry joins
   the submitted job, so no lead is paid for twice.
5. `report` logs how many credits were spent.

`BulkEnrichmentOperator` also checks the balance itself, because another DAG can spend the same credits after the sensor
has succeeded. Use the sensor if you want to see the wait as a separate task, or if other tasks have to wait as well. If
the enrichment is the only task that needs credits, omit the sensor: see `example_leadmagic_bulk_enrichment`.

`LEADMAGIC_EXAMPLE_FOLDER` sets the folder of the results file. The default is the system's temporary folder.
"""

from __future__ import annotations

import logging
import os
import tempfile
from datetime import datetime, timedelta
from typing import Any

try:
    from airflow.sdk import dag, task
except ModuleNotFoundError:  # Airflow 2.11
    from airflow.decorators import dag, task

from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator
from airflow_provider_leadmagic.operators.credits import CheckCreditsOperator
from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor

log = logging.getLogger(__name__)

CREDITS_PER_EMAIL = 1
#: In production, use storage that all workers share, such as s3://your-bucket/leads.
FOLDER = os.environ.get("LEADMAGIC_EXAMPLE_FOLDER", tempfile.gettempdir())
#: The run ID gives each run a results file of its own.
RESULTS = os.path.join(FOLDER, "enriched_{{ run_id }}.csv")
#: Seconds between two polls of the balance. LeadMagic asks for 60 to 300; the demo sets 5 to be fast.
POKE_INTERVAL = float(os.environ.get("LEADMAGIC_EXAMPLE_POKE_INTERVAL", "300"))
#: Seconds between two polls of the bulk job. LeadMagic asks for at least 45.
POLL_INTERVAL = float(os.environ.get("LEADMAGIC_EXAMPLE_POKE_INTERVAL", "60"))


@dag(
    schedule=None,  # in production: "@daily", for example
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["leadmagic", "example"],
    doc_md=__doc__,
)
def example_leadmagic_gated_enrichment() -> None:
    """Enrich leads once the balance covers all of them."""

    @task
    def load_leads() -> list[dict[str, str]]:
        """Return the leads to enrich. Replace this with your own query."""
        # The sandbox finds no email for names that contain "notfound". LeadMagic does not charge for a miss.
        names = ["Ada Lovelace", "Grace Hopper", "Alan Turing", "Barbara Liskov", "Otto Notfound"]
        return [{"full_name": name, "domain": "example.com"} for name in names]

    @task
    def estimate_credits(leads: list[dict[str, str]]) -> int:
        """Return the most the leads can cost: the price if an email is found for each of them."""
        return len(leads) * CREDITS_PER_EMAIL

    @task
    def report(job: dict[str, Any]) -> None:
        """Log what the job found and what it cost."""
        log.info("Spent %(credits_consumed)s credits on %(total_rows)s leads. Results: %(output_path)s", job)

    leads = load_leads()
    check_credits = CheckCreditsOperator(task_id="check_credits", warn_below=1000)
    wait_for_credits = SufficientCreditsSensor(
        task_id="wait_for_credits",
        minimum_credits=estimate_credits(leads),
        poke_interval=POKE_INTERVAL,
        timeout=timedelta(hours=12),
    )
    enrich_leads = BulkEnrichmentOperator(
        task_id="enrich_leads",
        product="email_finder",
        rows=leads,
        output_path=RESULTS,
        poll_interval=POLL_INTERVAL,
        timeout=timedelta(hours=12),
    )
    check_credits >> wait_for_credits >> enrich_leads
    report(enrich_leads.output)


example_leadmagic_gated_enrichment()
