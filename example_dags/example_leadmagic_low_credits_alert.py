"""
### Notify the team before the credits run out

Airflow's triggerer polls the balance of the connection `leadmagic_default` and starts this DAG when the balance falls
below 1,000 credits (a warning) and when it falls below 100 credits (critical). Each level causes one notification when
the balance crosses it, and none while the balance stays below it. The next notification for a level is possible after
the balance has risen at least a tenth above it, which is the default `hysteresis`.

Requires Airflow 3.0 or newer, because Airflow 2 has no asset watchers. On Airflow 2.11, schedule a
`CheckCreditsOperator` with `warn_below` and `on_low_credits` instead: see `example_leadmagic_check_credits`.
"""

from __future__ import annotations

import logging
import os
from datetime import datetime, timedelta
from typing import Any

try:
    from airflow.sdk import BaseNotifier
except ModuleNotFoundError:  # Airflow 2.11
    from airflow.notifications.basenotifier import BaseNotifier
from airflow.sdk import Asset, AssetWatcher, dag, get_current_context, task  # Airflow 3.0+

from airflow_provider_leadmagic.triggers.credits import CreditsCrossingTrigger

log = logging.getLogger(__name__)

#: Seconds between two polls of the balance. LeadMagic asks for 60 to 300; the demo sets 5 to be fast.
POKE_INTERVAL = float(os.environ.get("LEADMAGIC_EXAMPLE_POKE_INTERVAL", "300"))


def level(name: str, credits_: int) -> Asset:
    """Return an asset that is updated when the balance falls below a number of credits."""
    trigger = CreditsCrossingTrigger("falls_below", credits_, poke_interval=POKE_INTERVAL)
    return Asset(name, watchers=[AssetWatcher(name=f"{name}_watcher", trigger=trigger)])


WARNING = level("leadmagic_credits_below_1000", 1000)
CRITICAL = level("leadmagic_credits_below_100", 100)


class TeamNotifier(BaseNotifier):
    """
    Log a message.

    Replace this with the notifier you already use, such as SlackNotifier, SmtpNotifier or PagerdutyNotifier.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def notify(self, context: Any) -> None:
        """Log the message that a real notifier would send."""
        log.warning("The notifier would send: %s", self.text)


@dag(
    schedule=(WARNING | CRITICAL),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["leadmagic", "example"],
    doc_md=__doc__,
)
def example_leadmagic_low_credits_alert() -> None:
    """Notify the team which level the balance has crossed."""

    @task
    def notify_team(triggering_asset_events: Any = None) -> list[str]:
        """Send one message for each level that the balance has crossed."""
        texts = []
        for events in triggering_asset_events.values():
            balance = events[-1].extra["payload"]
            urgency = "CRITICAL" if balance["minimum_credits"] <= 100 else "Warning"
            texts.append(
                f"{urgency}: {balance['spendable']} LeadMagic credits left, below {balance['minimum_credits']}."
            )
        for text in texts:
            TeamNotifier(text)(get_current_context())
        return texts

    notify_team()


example_leadmagic_low_credits_alert()
