"""
### Check the LeadMagic balance every morning

Reads the balance of the connection `leadmagic_default`, warns below 1,000 credits, fails below 100,
and hands the numbers to the next task. Reading the balance is free.
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


def tell_the_team(context: dict[str, Any]) -> None:
    """Stand in for the notifier you already use, such as SlackNotifier or SmtpNotifier."""
    log.warning("Would tell the team: %s credits left.", context["leadmagic_credits"]["spendable"])


@dag(
    schedule=None,  # "@daily" in real life
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["leadmagic", "example"],
    doc_md=__doc__,
)
def example_leadmagic_check_credits() -> None:
    """Check the balance and pass it on."""
    check_credits = CheckCreditsOperator(
        task_id="check_credits",
        minimum_credits=100,
        warn_below=1000,
        on_low_credits=tell_the_team,
    )

    @task
    def plan_the_night(balance: dict[str, Any]) -> int:
        """Decide how many leads the balance allows; an email that is found costs one credit."""
        leads = int(balance["spendable"])
        log.info("Tonight's run can enrich up to %d leads.", leads)
        return leads

    plan_the_night(check_credits.output)


example_leadmagic_check_credits()
