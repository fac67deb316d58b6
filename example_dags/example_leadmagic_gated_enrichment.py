"""
### Enrich leads, but only once the credits cover all of them

1. `load_leads` brings tonight's leads.
2. `estimate_credits` says what they can cost at most.
3. `wait_for_credits` holds the run until the balance covers that: nothing is spent on half a run.
4. `enrich_leads` looks up each lead and adds up what was spent.
5. `report` says it. The balance comes from the last answer's header, so it costs no extra call.
"""

from __future__ import annotations

import logging
import os
from datetime import datetime, timedelta
from typing import Any

try:
    from airflow.sdk import dag, task
except ModuleNotFoundError:  # Airflow 2.11
    from airflow.decorators import dag, task

from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor

log = logging.getLogger(__name__)

CREDITS_PER_EMAIL = 1
#: Seconds between two looks at the balance. LeadMagic asks for one to five minutes; the demo is in a hurry.
POKE_INTERVAL = float(os.environ.get("LEADMAGIC_EXAMPLE_POKE_INTERVAL", "300"))


@dag(
    schedule=None,  # "@daily" in real life
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["leadmagic", "example"],
    doc_md=__doc__,
)
def example_leadmagic_gated_enrichment() -> None:
    """Gate an enrichment by the balance."""

    @task
    def load_leads() -> list[dict[str, str]]:
        """Stand in for your query."""
        names = ["Ada Lovelace", "Grace Hopper", "Alan Turing", "Edsger Dijkstra", "Barbara Liskov"]
        return [{"full_name": name, "domain": "example.com"} for name in names]

    @task
    def estimate_credits(leads: list[dict[str, str]]) -> int:
        """Say what the run can cost at most: an email that is not found is free."""
        return len(leads) * CREDITS_PER_EMAIL

    @task(retries=0)  # a second attempt would pay again for the leads of the first
    def enrich_leads(leads: list[dict[str, str]]) -> dict[str, Any]:
        """Look up every lead."""
        from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook  # here, so that the file parses fast

        client = LeadMagicHook().get_conn()
        answers = [client.enrich("email_finder", **lead) for lead in leads]
        return {
            "leads": len(leads),
            "found": sum(1 for answer in answers if answer["email"]),
            "spent": sum(answer["credits_consumed"] for answer in answers),
            "left": str(client.credits_remaining),
        }

    @task
    def report(result: dict[str, Any]) -> None:
        """Say what was bought."""
        log.info("Found %(found)s of %(leads)s emails, spent %(spent)s credits, %(left)s are left.", result)

    leads = load_leads()
    wait_for_credits = SufficientCreditsSensor(
        task_id="wait_for_credits",
        minimum_credits=estimate_credits(leads),
        poke_interval=POKE_INTERVAL,
        timeout=timedelta(hours=12),
    )
    result = enrich_leads(leads)
    wait_for_credits >> result
    report(result)


example_leadmagic_gated_enrichment()
