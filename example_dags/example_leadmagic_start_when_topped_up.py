"""
### Start an enrichment when the account is topped up

Airflow's triggerer polls the balance of the connection `leadmagic_default` and starts this DAG each time the balance
rises to 500 credits, whether by a top-up, the monthly renewal or an automatic refill. Until then no task runs or waits.
The event that starts the DAG contains the balance. The next start requires that the balance first falls to 400 credits
(`hysteresis=100`), so that small changes around 500 do not start the DAG again.

Requires Airflow 3.0 or newer, because Airflow 2 has no asset watchers.
"""

from __future__ import annotations

import logging
import os
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import Asset, AssetWatcher, dag, task  # Airflow 3.0+

from airflow_provider_leadmagic.triggers.credits import CreditsCrossingTrigger

log = logging.getLogger(__name__)

#: Seconds between two polls of the balance. LeadMagic asks for 60 to 300; the demo sets 5 to be fast.
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
    """Enrich the backlog when the balance has risen."""

    @task
    def read_balance(triggering_asset_events: Any = None) -> float:
        """Return the balance from the event, or request it if the run was triggered manually and has no event."""
        # Imported here because the HTTP client it loads is not needed to parse this file.
        from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

        events = triggering_asset_events[credits_topped_up] if triggering_asset_events else []
        balance: dict[str, Any] = events[-1].extra["payload"] if events else LeadMagicHook().get_credits().report()
        log.info("%s of %s credits are spendable.", balance["spendable"], balance["credits"])
        return float(balance["spendable"])

    @task(retries=0)  # a second attempt would pay again for the leads of the first attempt
    def enrich_backlog(spendable: float) -> dict[str, Any]:
        """Enrich as many leads as the balance covers, at one credit for each email found."""
        from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

        names = ["Ada Lovelace", "Grace Hopper", "Alan Turing"]  # replace this with your own query
        client = LeadMagicHook().get_conn()
        affordable = names[: int(spendable)]
        responses = [client.enrich("email_finder", full_name=name, domain="example.com") for name in affordable]
        return {"found": sum(1 for found in responses if found["email"]), "left": str(client.credits_remaining)}

    enrich_backlog(read_balance())


example_leadmagic_start_when_topped_up()
