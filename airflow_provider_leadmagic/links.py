"""Links from a task's page to where credits are bought, and where they went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_leadmagic.compat.imports import BaseOperatorLink

if TYPE_CHECKING:
    from airflow_provider_leadmagic.compat.imports import BaseOperator, TaskInstanceKey


class LeadMagicBillingLink(BaseOperatorLink):
    """Leads to the page where credits are added."""

    name = "LeadMagic billing"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, the same for every task."""
        return "https://app.leadmagic.io/settings/billing"


class LeadMagicUsageLink(BaseOperatorLink):
    """Leads to the page that shows what the credits were spent on."""

    name = "LeadMagic usage"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, the same for every task."""
        return "https://app.leadmagic.io/api/reporting"


CREDITS_LINKS = (LeadMagicUsageLink(), LeadMagicBillingLink())
