"""
### Check the LeadMagic balance every morning

1. `check_credits` (`CheckCreditsOperator`) reads the balance of the connection `leadmagic_default`. This is free. Below
   1,000 credits the task logs a warning and notifies the team. Below 100 credits it fails.
2. `calculate_batch_size` receives the balance and calculates how many leads it can pay for.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

try:
    from airflow.sdk import dag, task
except ModuleNotFoundError:  # Airflow 2.11
    from airflow.decorators import dag, task

from airflow_provider_leadmagic.operators.credits import CheckCreditsOperator

log = logging.getLogger(__name__)


def notify_team(context: dict[str, Any]) -> None:
    """Log a message. Replace this with the notifier you already use, such as SlackNotifier or SmtpNotifier."""
    log.warning("The notifier would send: %s credits left.", context["leadmagic_credits"]["spendable"])


@dag(
    schedule=None,  # in production: "@daily", for example
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["leadmagic", "example"],
    doc_md=__doc__,
)
def example_leadmagic_check_credits() -> None:
    """Check the balance and pass it to the next task."""
    check_credits = CheckCreditsOperator(
        task_id="check_credits",
        minimum_credits=100,
        warn_below=1000,
        on_low_credits=notify_team,
    )

    @task
    def calculate_batch_size(balance: dict[str, Any]) -> int:
        """Return the number of leads that the balance covers, at one credit for each email found."""
        leads = int(balance["spendable"])
        log.info("The balance covers %d leads.", leads)
        return leads

    calculate_batch_size(check_credits.output)


example_leadmagic_check_credits()
