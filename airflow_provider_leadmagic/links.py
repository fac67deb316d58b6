"""Links from a task's page in Airflow to LeadMagic's billing and usage pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_leadmagic.compat.imports import BaseOperatorLink

if TYPE_CHECKING:
    from airflow_provider_leadmagic.compat.imports import BaseOperator, TaskInstanceKey


class LeadMagicBillingLink(BaseOperatorLink):
    """Link to the page where credits are bought."""

    name = "LeadMagic billing"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL, which is the same for every task."""
        return "https://app.leadmagic.io/settings/billing"


class LeadMagicUsageLink(BaseOperatorLink):
    """Link to the page that shows how credits were spent."""

    name = "LeadMagic usage"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL, which is the same for every task."""
        return "https://app.leadmagic.io/api/reporting"


CREDITS_LINKS = (LeadMagicUsageLink(), LeadMagicBillingLink())
