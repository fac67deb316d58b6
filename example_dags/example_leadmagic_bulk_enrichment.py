"""
### Enrich a file of leads by one bulk job

1. `write_leads` puts tonight's leads into a CSV file.
2. `enrich_leads` checks the rows, asks for the price, waits until the credits cover all of them, orders one job, and
   writes what it found next to the leads. A retry joins the job that was ordered, so nothing is paid twice.
3. `report` says what became of the leads, and what they cost.

`LEADMAGIC_EXAMPLE_FOLDER` says where the files go: the folder for temporary files by default.
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

#: In real life a place that every worker reaches, such as s3://your-bucket/leads.
FOLDER = os.environ.get("LEADMAGIC_EXAMPLE_FOLDER", tempfile.gettempdir())
#: Each run has files of its own: they must not change while its job is under way.
LEADS = os.path.join(FOLDER, "leads_{{ run_id }}.csv")
FOUND = os.path.join(FOLDER, "found_{{ run_id }}.csv")
#: Seconds between two looks. LeadMagic asks for 45 at least; the demo is in a hurry.
POLL_INTERVAL = float(os.environ.get("LEADMAGIC_EXAMPLE_POKE_INTERVAL", "60"))


@dag(
    schedule=None,  # "@daily" in real life
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    # For the bulk job, too: each try of a task joins the job that its first try ordered.
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["leadmagic", "example"],
    doc_md=__doc__,
)
def example_leadmagic_bulk_enrichment() -> None:
    """Find the emails of a list of leads."""

    @task
    def write_leads(path: str) -> None:
        """Stand in for your query."""
        names = ["Ada Lovelace", "Grace Hopper", "Alan Turing", "Barbara Liskov", "Otto Notfound"]  # a miss is free
        with open(path, "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["crm_id", "full_name", "domain"])
            rows.writerows([number, name, "example.com"] for number, name in enumerate(names, 1))

    @task
    def report(job: dict[str, Any]) -> None:
        """Say what was bought."""
        log.info("%(succeeded)s of %(total_rows)s rows have a result: %(output_path)s", job)
        log.info("%(failed)s rows failed, %(skipped)s were skipped: %(errors_path)s", job)
        log.info("That cost %(credits_consumed)s credits, of up to %(credits_estimated)s.", job)

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
