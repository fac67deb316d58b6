"""Check that the credits cover a bulk job: by the balance alone, or by a claim on the credits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_leadmagic.api.text import format_credits
from airflow_provider_leadmagic.claims.admission import decide
from airflow_provider_leadmagic.claims.pool import ClaimSettings, new_claim
from airflow_provider_leadmagic.decisions.gate import describe_amounts
from airflow_provider_leadmagic.exceptions import InsufficientCreditsError

if TYPE_CHECKING:
    from decimal import Decimal

    from airflow_provider_leadmagic.bulk.submission import BulkSubmission
    from airflow_provider_leadmagic.client import LeadMagicClient
    from airflow_provider_leadmagic.compat.imports import BaseOperator, Log
    from airflow_provider_leadmagic.decisions.claims import Seen


class CreditsCheck(Protocol):
    """Checks that the credits cover a bulk job, right before it is submitted."""

    def __call__(self, client: LeadMagicClient, submission: BulkSubmission, estimate: Decimal) -> None:
        """
        Check that the credits cover a job.

        :param client: Client for the account.
        :param submission: The job.
        :param estimate: Credits that the job costs if every row is a hit.
        :raises InsufficientCreditsError: If the credits do not cover the job.
        """


@dataclass(frozen=True)
class BalanceCheck:
    """Compares the balance with the credits needed. ``conn_id`` is the connection, for the error message."""

    conn_id: str

    def __call__(self, client: LeadMagicClient, submission: BulkSubmission, estimate: Decimal) -> None:
        submission.check_balance(client, estimate, self.conn_id)


@dataclass(frozen=True)
class ClaimCheck:
    """
    Claims the price of the job. The claim then holds these credits until the task has finished.

    :param task: The operator.
    :param task_instance: Its task instance.
    :param settings: Arguments of the operator.
    :param seen: What the triggerer saw while the task was deferred: which claims ended, and for which waiting tasks
        there were enough credits.
    :param log: The task's logger.
    """

    task: BaseOperator
    task_instance: Any
    settings: ClaimSettings
    seen: Seen
    log: Log

    def __call__(self, client: LeadMagicClient, submission: BulkSubmission, estimate: Decimal) -> None:
        reserve = submission.minimum_balance_after
        claim = new_claim(
            self.task, self.task_instance, self.settings, estimate, reserve=reserve, is_spent_by_claimant=True
        )
        balance, standing, _ = decide(self.settings.pool, claim, client.get_credits, self.seen)
        amounts = describe_amounts(balance, estimate + reserve, standing)
        if standing.is_granted:
            self.log.info("Claimed %s credits for the job, based on: %s.", format_credits(estimate), amounts)
            return
        raise InsufficientCreditsError(
            f"Not enough credits: {amounts} on connection {claim.conn_id!r}.",
            required=estimate + reserve,
            available=standing.available,
        )
