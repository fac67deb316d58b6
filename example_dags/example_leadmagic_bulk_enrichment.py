"""
### Enrich a file of leads with one bulk job

1. `write_leads` writes the leads to a CSV file.
2. `enrich_leads` (`BulkEnrichmentOperator`) checks the rows, gets the price from LeadMagic, waits until the balance
   covers all rows, submits one job, and writes its results to a second CSV file. A retry joins the submitted job, so no
   lead is paid for twice.
3. `report` logs how many leads have a result and what they cost.

`LEADMAGIC_EXAMPLE_FOLDER` sets the folder of both files. The default is the system's temporary folder.
"""

from __future__ import annotations

import csv
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

log = logging.getLogger(__name__)

#: In production, use storage that all workers share, such as s3://your-bucket/leads.
FOLDER = os.environ.get("LEADMAGIC_EXAMPLE_FOLDER", tempfile.gettempdir())
#: The run ID gives each run its own files. The input must not change before the results are written.
LEADS = os.path.join(FOLDER, "leads_{{ run_id }}.csv")
FOUND = os.path.join(FOLDER, "found_{{ run_id }}.csv")
#: Seconds between two polls of the balance or the job. LeadMagic asks for at least 45; the demo sets 5 to be fast.
POLL_INTERVAL = float(os.environ.get("LEADMAGIC_EXAMPLE_POKE_INTERVAL", "60"))


@dag(
    schedule=None,  # in production: "@daily", for example
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    # Retries are safe for the bulk job, too: each attempt joins the job that the first attempt submitted.
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["leadmagic", "example"],
    doc_md=__doc__,
)
def example_leadmagic_bulk_enrichment() -> None:
    """Find the email addresses of a list of leads."""

    @task
    def write_leads(path: str) -> None:
        """Write the leads to a CSV file. Replace this with your own query."""
        # The sandbox finds no email for names that contain "notfound". LeadMagic does not charge for a miss.
        names = ["Ada Lovelace", "Grace Hopper", "Alan Turing", "Barbara Liskov", "Otto Notfound"]
        with open(path, "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["crm_id", "full_name", "domain"])
            rows.writerows([number, name, "example.com"] for number, name in enumerate(names, 1))

    @task
    def report(job: dict[str, Any]) -> None:
        """Log the outcome of the job and what it cost."""
        log.info("%(succeeded)s of %(total_rows)s rows succeeded. Results: %(output_path)s", job)
        log.info("%(failed)s rows failed, %(skipped)s were skipped. Error file: %(errors_path)s", job)
        log.info("Spent %(credits_consumed)s credits. The maximum price was %(credits_estimated)s.", job)

    enrich_leads = BulkEnrichmentOperator(
        task_id="enrich_leads",
        product="email_finder",
        input_path=LEADS,
        output_path=FOUND,
        max_credits=1000,
        poll_interval=POLL_INTERVAL,
        timeout=timedelta(hours=12),
    )
    write_leads(LEADS) >> enrich_leads
    report(enrich_leads.output)


example_leadmagic_bulk_enrichment()
