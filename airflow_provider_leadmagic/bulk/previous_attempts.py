"""Find the bulk job of a previous attempt of a task, and cancel the jobs that the task submitted before a clear."""

from __future__ import annotations

import logging
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Self

from airflow_provider_leadmagic.api.jobs import format_count
from airflow_provider_leadmagic.bulk.submission import (
    check_same_rows,
    is_of_same_task,
    is_same_generation,
    was_submitted_with,
)
from airflow_provider_leadmagic.exceptions import (
    LeadMagicConfigurationError,
    LeadMagicError,
    LeadMagicNotFoundError,
    LeadMagicPermissionError,
    LeadMagicResponseError,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from airflow_provider_leadmagic.api.jobs import BulkJob
    from airflow_provider_leadmagic.bulk.submission import BulkSubmission
    from airflow_provider_leadmagic.client import LeadMagicClient
    from airflow_provider_leadmagic.compat.task_state import TaskStateStore

log = logging.getLogger(__name__)

#: Do not rename this key: running tasks have stored their jobs under it, and would lose them.
_STORE_KEY = "leadmagic_bulk_job"
#: Pauses between searches of LeadMagic's list for a job that it may have accepted a moment ago, in seconds.
PAUSES = (1.0, 2.0, 4.0)


@dataclass(frozen=True)
class SubmittedJob:
    """
    A job that was submitted.

    :param job_id: The ID that LeadMagic assigned.
    :param idempotency_key: The key it was submitted with.
    :param estimate: Price in credits if every row is a hit; None if unknown, because LeadMagic's list of jobs contains
        no prices.
    :param account: Salt and digest of the account it belongs to; empty if an older version saved the job.
    """

    job_id: str
    idempotency_key: str
    estimate: Decimal | None
    account: str = ""

    def in_account_of(self, client: LeadMagicClient) -> Self:
        """Return a copy of this job that records the account of a client."""
        salt = secrets.token_hex(8)
        return replace(self, account=f"{salt}:{client.account_digest(salt)}")

    def is_in_account_of(self, client: LeadMagicClient) -> bool:
        """Return whether a client has the URL and the API key that the job was submitted with; True if not known."""
        salt, _, digest = self.account.partition(":")
        return not salt or client.account_digest(salt) == digest

    def read(self, client: LeadMagicClient, conn_id: str, *, can_be_joined: bool = True) -> BulkJob:
        """
        Request the state of the job.

        :param conn_id: The connection, for the error message.
        :param can_be_joined: Whether a later attempt would find the job again, for the error message.
        :raises LeadMagicConfigurationError: If the job belongs to another account. A new API key of the same account is
            no error.
        :raises LeadMagicError: If LeadMagic rejects the request or does not respond.
        """
        try:
            return client.bulk.get(self.job_id)
        except (LeadMagicNotFoundError, LeadMagicPermissionError):
            if self.is_in_account_of(client):
                raise
        if can_be_joined:
            raise LeadMagicConfigurationError(
                f"Connection {conn_id!r} was changed to another LeadMagic account: change it back to continue bulk job "
                f"{self.job_id}. Nothing was submitted in the new account. To submit the rows there, clear the task."
            )
        raise LeadMagicConfigurationError(
            f"Connection {conn_id!r} was changed to another LeadMagic account: download the results of bulk job "
            f"{self.job_id} in LeadMagic's app, or clear the task to submit the rows again."
        )

    def save(self, store: TaskStateStore | None) -> None:
        """
        Save the job for later attempts, if Airflow has a state store.

        :param store: The task's state store; None before Airflow 3.3.
        """
        if store is None:
            return
        try:
            store.set(_STORE_KEY, self.to_json())
        except Exception as error:  # the job is paid for: an error of Airflow's API must not end the attempt
            problem = "Could not store the ID of bulk job %s: a retry will search LeadMagic's list of jobs. Reason: %s"
            log.warning(problem, self.job_id, type(error).__name__)

    @classmethod
    def load(cls, store: TaskStateStore | None) -> Self | None:
        """
        Return the job that a previous attempt saved, possibly before a clear; None if there is none.

        :param store: The task's state store; None before Airflow 3.3.
        """
        stored = store.get(_STORE_KEY) if store is not None else None
        return cls.from_json(stored) if stored else None

    def to_json(self) -> dict[str, str]:
        """Convert the job to a JSON object."""
        return {
            "job_id": self.job_id,
            "idempotency_key": self.idempotency_key,
            "estimate": "" if self.estimate is None else str(self.estimate),
            "account": self.account,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, str]) -> Self:
        """Build the job from the output of :meth:`to_json`, of this version or another."""
        estimate = Decimal(fields["estimate"]) if fields["estimate"] else None
        return cls(fields["job_id"], fields["idempotency_key"], estimate, fields.get("account") or "")


class PreviousAttempts:
    """
    Finds the job that a previous attempt submitted, in Airflow's state store or else in LeadMagic's list of jobs;
    submits the job if there is none.

    Before Airflow 3.3 there is no store. If the worker was lost right after submitting, the job is not in the store.

    :param client: A client for the account.
    :param store: The task's state store; None before Airflow 3.3.
    :param idempotency_key: The key of the current attempt.
    :param conn_id: The connection, for messages.
    """

    def __init__(
        self, client: LeadMagicClient, store: TaskStateStore | None, idempotency_key: str, conn_id: str
    ) -> None:
        self._client = client
        self._store = store
        self.key = idempotency_key
        self._conn_id = conn_id

    def cancel_replaced(self) -> list[BulkJob] | None:
        """
        Cancel the unfinished jobs that the task submitted before it was cleared.

        Call it only at the start of an attempt. Otherwise an old attempt, whose machine was suspended for example,
        would cancel the job of the attempt that replaced it.

        :return: The jobs of the task, for :meth:`find`; None if the state store has a job from after the last clear.
        :raises LeadMagicError: If a job cannot be canceled, or LeadMagic does not return the list of jobs.
        """
        stored = SubmittedJob.load(self._store)
        if stored is not None and is_same_generation(stored.idempotency_key, self.key):
            return None
        self._warn_of_other_account(stored)
        jobs = self.jobs_of_task()
        if stored is not None and stored.job_id not in {job.job_id for job in jobs}:
            with suppress(LeadMagicNotFoundError, LeadMagicPermissionError):  # it is in another account
                jobs.append(self._client.bulk.get(stored.job_id))
        self._cancel((job for job in jobs if not was_submitted_with(job.file_name, self.key)), "the task was cleared")
        return jobs

    def jobs_of_task(self) -> list[BulkJob]:
        """Return the jobs in LeadMagic's list that any attempt of the task submitted, even before a clear."""
        return [job for job in self._client.bulk.list() if is_of_same_task(job.file_name, self.key)]

    def ids_before_wait(self, jobs: Iterable[BulkJob] | None) -> set[str]:
        """
        Return the IDs of the jobs that the task has before it waits for credits.

        :param jobs: The jobs of the task; None if they have not been requested, as in a first attempt. Then the
            finished ones are requested here, because a deleted run with the same run ID may have left some. An
            unfinished one may belong to a later attempt, which started while this one was suspended.
        """
        known = (job for job in self.jobs_of_task() if job.is_finished) if jobs is None else jobs
        return {job.job_id for job in known}

    def find(self, submission: BulkSubmission, jobs: Iterable[BulkJob] | None) -> SubmittedJob | None:
        """
        Find the job to join.

        :param submission: The submission, to compare its rows.
        :param jobs: The jobs of the task; None to request them if they are needed.
        :raises LeadMagicConfigurationError: If the job to join belongs to another account than the connection.
        :raises LeadMagicResponseError: If the job to join is unfinished and has other rows.
        """
        stored = SubmittedJob.load(self._store)
        if stored is not None and is_same_generation(stored.idempotency_key, self.key):
            with suppress(LeadMagicNotFoundError):  # a new job can return 404 at first, which the polls tolerate
                check_same_rows(stored.read(self._client, self._conn_id), submission.digest, submission.source.name)
            found: SubmittedJob | None = stored.in_account_of(self._client)
        else:
            found = self._find_in(self._client.bulk.list() if jobs is None else jobs, submission, None)
        return self._joined(found)

    def find_after_wait(
        self, submission: BulkSubmission, estimate: Decimal, known: Collection[str]
    ) -> SubmittedJob | None:
        """
        Search for the job once more after a wait: LeadMagic may have listed it in the meantime.

        :param known: IDs of the jobs that the task had before the wait.
        :raises LeadMagicError: If a later attempt has submitted a job while this attempt was suspended.
        """
        jobs = self.jobs_of_task()
        found = self._find_in(jobs, submission, estimate)
        if found is None:
            self.check_not_replaced(jobs, known)
        return self._joined(found)

    def check_not_replaced(self, jobs: Iterable[BulkJob], known: Collection[str]) -> None:
        """
        Check that no later attempt has submitted a job.

        :param jobs: The jobs of the task.
        :param known: IDs of the jobs that the task had before.
        :raises LeadMagicError: If there is such a job: a user cleared the task while this attempt was suspended.
        """
        for job in jobs:
            if job.job_id not in known and not was_submitted_with(job.file_name, self.key):
                raise LeadMagicError(
                    f"Not submitted: the task was cleared, and its next attempt has submitted bulk job {job.job_id}."
                )

    def submit(self, submission: BulkSubmission, estimate: Decimal, *, may_exist: bool) -> SubmittedJob:
        """
        Submit the job. After an error, check whether LeadMagic has accepted it: a response may have been lost.

        :param estimate: Credits that the job costs if every row is a hit.
        :param may_exist: Whether an earlier request may have submitted the job already.
        :raises LeadMagicError: If LeadMagic rejects the request or does not respond, and does not list the job.
        """
        try:
            job = submission.submit(self._client, self.key)
        except LeadMagicError as error:
            may_exist = may_exist or error.maybe_executed or isinstance(error, LeadMagicResponseError)
            accepted = self.find_accepted(submission, estimate, PAUSES if may_exist else ())
            if accepted is None:
                raise
            log.warning("Bulk job %s was accepted although the submission failed: %s", accepted.job_id, error)
            return accepted
        log.info("Submitted bulk job %s (%s rows).", job.job_id, format_count(job.total_rows))
        return SubmittedJob(job.job_id, self.key, estimate).in_account_of(self._client)

    def find_accepted(
        self, submission: BulkSubmission, estimate: Decimal, pauses: Iterable[float] = PAUSES
    ) -> SubmittedJob | None:
        """
        Find a job that LeadMagic may have accepted a moment ago. It may be listed late.

        :param estimate: Credits that the job costs if every row is a hit.
        :param pauses: Pauses between the searches, in seconds.
        """
        for pause in (0.0, *pauses):
            time.sleep(pause)
            try:
                found = self._find_in(self._client.bulk.list(), submission, estimate)
            except LeadMagicError as error:
                log.warning("Could not check whether LeadMagic has accepted the bulk job: %s", error)
                found = None
                if not error.transient:
                    break
            if found is not None:
                return found
        return None

    def _find_in(
        self, jobs: Iterable[BulkJob], submission: BulkSubmission, estimate: Decimal | None
    ) -> SubmittedJob | None:
        same_key = [job for job in jobs if was_submitted_with(job.file_name, self.key)]
        # There can be two jobs with the key, because LeadMagic does not remember a key forever.
        job = min(same_key, key=lambda job: job.is_canceled, default=None)
        self._cancel((other for other in same_key if other is not job), "another job has the same idempotency key")
        if job is None:
            return None
        check_same_rows(job, submission.digest, submission.source.name)
        return SubmittedJob(job.job_id, self.key, estimate).in_account_of(self._client)

    @staticmethod
    def _joined(found: SubmittedJob | None) -> SubmittedJob | None:
        if found is not None:
            log.info("Joined bulk job %s, which was already submitted for this task.", found.job_id)
        return found

    def _cancel(self, jobs: Iterable[BulkJob], reason: str) -> None:
        for job in jobs:
            if not job.is_finished:
                self._client.bulk.cancel(job.job_id)
                log.warning(
                    "Canceled bulk job %s because %s. Progress of the job: %s.", job.job_id, reason, job.progress()
                )

    def _warn_of_other_account(self, stored: SubmittedJob | None) -> None:
        if stored is not None and not stored.is_in_account_of(self._client):
            log.warning(
                "URL or API key of connection %r changed after bulk job %s was submitted. If the connection now uses "
                "another account, this task cannot cancel the job: if it still runs, cancel it in the old account.",
                self._conn_id,
                stored.job_id,
            )
