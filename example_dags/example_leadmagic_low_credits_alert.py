"""
### Tell people before the credits run out

Airflow's triggerer watches the balance of `leadmagic_default` for two levels: below 1,000 credits somebody should know,
below 100 somebody should act. Each level is told once, when it is crossed, not again and again while it lasts; it is
armed anew when the balance has recovered by a tenth.

Needs Airflow 3.0, which brought asset watchers. On Airflow 2.11 put a `CheckCreditsOperator` with `warn_below` and
`on_low_credits` on a schedule, as `example_leadmagic_check_credits` does.
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

#: Seconds between two looks at the balance. LeadMagic asks for one to five minutes; the demo is in a hurry.
POKE_INTERVAL = float(os.environ.get("LEADMAGIC_EXAMPLE_POKE_INTERVAL", "300"))


def level(name: str, credits_: int) -> Asset:
    """Describe a level of the balance as an asset that is updated when the balance falls below it."""
    trigger = CreditsCrossingTrigger("falls_below", credits_, poke_interval=POKE_INTERVAL)
    return Asset(name, watchers=[AssetWatcher(name=f"{name}_watcher", trigger=trigger)])


WARNING = level("leadmagic_credits_below_1000", 1000)
CRITICAL = level("leadmagic_credits_below_100", 100)


class TeamNotifier(BaseNotifier):
    """Stands in for the notifier you already use, such as SlackNotifier, SmtpNotifier or PagerdutyNotifier."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def notify(self, context: Any) -> None:
        """Tell it to the log."""
        log.warning("Would tell the team: %s", self.text)


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
    """Tell the team which level was crossed."""

    @task
    def tell_the_team(triggering_asset_events: Any = None) -> list[str]:
        """Send one message for each level that was crossed."""
        texts = []
        for events in triggering_asset_events.values():
            balance = events[-1].extra["payload"]
            urgency = "CRITICAL" if balance["minimum_credits"] <= 100 else "Warning"
            texts.append(
                f"{urgency}: {balance['spendable']} LeadMagic credits left, under {balance['minimum_credits']}."
            )
        for text in texts:
            TeamNotifier(text)(get_current_context())
        return texts

    tell_the_team()


example_leadmagic_low_credits_alert()
