"""
### Start an enrichment the moment credits arrive

Nothing runs and nothing waits here until the balance of `leadmagic_default` rises to 500 credits: by a top-up, by the
monthly renewal, by automatic refill. Airflow's triggerer watches it, and starts this DAG once for each rise. The
balance comes with the event.

Needs Airflow 3.0, which brought asset watchers.
"""

from __future__ import annotations

import logging
import os
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import Asset, AssetWatcher, dag, task  # Airflow 3.0+

from airflow_provider_leadmagic.triggers.credits import CreditsCrossingTrigger

log = logging.getLogger(__name__)

#: Seconds between two looks at the balance. LeadMagic asks for one to five minutes; the demo is in a hurry.
POKE_INTERVAL = float(os.environ.get("LEADMAGIC_EXAMPLE_POKE_INTERVAL", "300"))

credits_topped_up = Asset(
    name="leadmagic_credits_topped_up",
    watchers=[
        AssetWatcher(
            name="leadmagic_rises_to_500",
            trigger=CreditsCrossingTrigger("rises_to", 500, hysteresis=100, poke_interval=POKE_INTERVAL),
        )
    ],
)


@dag(
    schedule=[credits_topped_up],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["leadmagic", "example"],
    doc_md=__doc__,
)
def example_leadmagic_start_when_topped_up() -> None:
    """Enrich the backlog when there is money for it."""

    @task
    def read_balance(triggering_asset_events: Any = None) -> float:
        """Take the balance from the event; a run that was started by hand has none, and asks."""
        from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook  # here, so that the file parses fast

        events = triggering_asset_events[credits_topped_up] if triggering_asset_events else []
        balance: dict[str, Any] = events[-1].extra["payload"] if events else LeadMagicHook().get_credits().report()
        log.info("%s of %s credits can be spent.", balance["spendable"], balance["credits"])
        return float(balance["spendable"])

    @task(retries=0)  # a second attempt would pay again for the leads of the first
    def enrich_backlog(spendable: float) -> dict[str, Any]:
        """Look up as many leads as the balance allows."""
        from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

        names = ["Ada Lovelace", "Grace Hopper", "Alan Turing"]  # stands in for your query
        client = LeadMagicHook().get_conn()
        affordable = names[: int(spendable)]
        answers = [client.enrich("email_finder", full_name=name, domain="example.com") for name in affordable]
        return {"found": sum(1 for answer in answers if answer["email"]), "left": str(client.credits_remaining)}

    enrich_backlog(read_balance())


example_leadmagic_start_when_topped_up()
