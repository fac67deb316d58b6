"""Jobs that are paused because credits ran out are resumed and charged once; failed jobs fail the task."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.compat.imports import AirflowFailException
from airflow_provider_leadmagic.exceptions import LeadMagicNotFoundError, LeadMagicRequestError, LeadMagicTimeoutError
from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_mock import MockerFixture

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from tests.unit.operators.conftest import MakeTask, When

JOB = "/bulk/jobs/*"


def pause_after(sandbox: Sandbox, when: When, rows: int) -> None:
    """Let the credits run out after a number of rows."""
    sandbox.bulk_speed(paused_clock=True)

    def spend() -> None:
        sandbox.set_credits(rows)
        sandbox.advance_bulk(1000)
        sandbox.bulk_speed()

    when(lambda: is_polled(sandbox), spend)


def is_polled(sandbox: Sandbox) -> bool:
    """Return whether the job was polled; a trigger of the previous test may still poll another one."""
    return any(sandbox.requests_to(f"/bulk/jobs/{job.job_id}") for job in sandbox.bulk_jobs)


def paused(sandbox: Sandbox) -> bool:
    return [job.status for job in sandbox.bulk_jobs] == ["paused"]


def resume_by_hand(sandbox: Sandbox) -> None:
    """Resume the job outside of its task, with credits for the remaining rows."""
    sandbox.set_credits(3)
    with LeadMagicClient(sandbox.api_key, sandbox.url) as client:
        client.bulk.resume(sandbox.bulk_jobs[0].job_id)


def polls_while_paused(sandbox: Sandbox, path: str, number: int) -> Callable[[], bool]:
    counted: list[int] = []

    def reached() -> bool:
        if not paused(sandbox):
            return False
        counted.append(len(sandbox.requests_to(path)))
        return counted[-1] >= counted[0] + number

    return reached


def test_it_waits_for_the_price_of_the_remaining_rows_and_resumes(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool, logged: Callable[[], str]
) -> None:
    pause_after(leadmagic_sandbox, when, 2)
    when(polls_while_paused(leadmagic_sandbox, "/v1/credits", 3), lambda: leadmagic_sandbox.set_credits(13))

    xcom = task(minimum_balance_after=10, deferrable=deferrable).run()

    assert xcom["credits_consumed"] == 5
    assert leadmagic_sandbox.charges_per_row(xcom["job_id"]) == Counter(range(5))
    log = logged()
    assert "is paused: 2 / 5 rows (40%), 2 credits used." in log
    assert (
        "Waiting for credits: 13 short (0 spendable, 13 required) on connection 'leadmagic_default'. Next poll in "
        in log
    )
    assert "Credits sufficient: 13 spendable, 13 required on connection 'leadmagic_default'." in log
    assert f"Resumed bulk job {xcom['job_id']}." in log


def test_it_is_not_resumed_for_less_than_the_price_of_the_remaining_rows(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool
) -> None:
    pause_after(leadmagic_sandbox, when, 2)
    when(polls_while_paused(leadmagic_sandbox, "/v1/credits", 3), lambda: leadmagic_sandbox.set_credits("12.99"))
    when(polls_while_paused(leadmagic_sandbox, "/v1/credits", 6), lambda: leadmagic_sandbox.set_credits(13))

    task(minimum_balance_after=10, deferrable=deferrable).run()

    assert len(leadmagic_sandbox.requests_to(f"{JOB}/resume")) == 1


def test_credits_that_were_spent_before_the_task_continues_are_waited_for_again(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, mocker: MockerFixture
) -> None:
    pause_after(leadmagic_sandbox, when, 2)
    when(polls_while_paused(leadmagic_sandbox, "/v1/credits", 2), lambda: leadmagic_sandbox.set_credits(3))
    log_credits_sufficient = BulkEnrichmentOperator._log_credits_sufficient
    credits_left = iter([2, 3])  # when the deferred task continues: the first time, others have spent one

    def spend_and_log(operator: BulkEnrichmentOperator, event: dict[str, Any]) -> None:
        left = next(credits_left)
        leadmagic_sandbox.set_credits(left)
        if left < 3:
            when(polls_while_paused(leadmagic_sandbox, "/v1/credits", 2), lambda: leadmagic_sandbox.set_credits(3))
        log_credits_sufficient(operator, event)

    mocker.patch.object(BulkEnrichmentOperator, "_log_credits_sufficient", autospec=True, side_effect=spend_and_log)
    enrich = task(deferrable=True)

    enrich.run()

    assert enrich.deferrals.count("PausedBulkJobTrigger") == 2
    assert len(leadmagic_sandbox.requests_to(f"{JOB}/resume")) == 1


def test_it_defers_with_the_triggers_of_its_job(task: MakeTask, leadmagic_sandbox: Sandbox, when: When) -> None:
    pause_after(leadmagic_sandbox, when, 2)
    when(polls_while_paused(leadmagic_sandbox, "/v1/credits", 3), lambda: leadmagic_sandbox.set_credits(3))
    enrich = task(deferrable=True)

    enrich.run()

    assert enrich.deferrals == ["BulkJobTrigger", "PausedBulkJobTrigger", "BulkJobTrigger"]


def test_a_job_that_was_resumed_elsewhere_is_not_resumed_again(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool
) -> None:
    pause_after(leadmagic_sandbox, when, 2)

    def resume_by_hand_and_top_up() -> None:
        resume_by_hand(leadmagic_sandbox)
        leadmagic_sandbox.set_credits(100)

    when(polls_while_paused(leadmagic_sandbox, "/v1/credits", 2), resume_by_hand_and_top_up)

    assert task(deferrable=deferrable).run()["credits_consumed"] == 5
    assert len(leadmagic_sandbox.requests_to(f"{JOB}/resume")) == 1


def test_a_job_that_is_paused_repeatedly_is_resumed_each_time(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool
) -> None:
    pause_after(leadmagic_sandbox, when, 2)

    def spend_elsewhere() -> None:
        leadmagic_sandbox.bulk_speed(paused_clock=True)
        leadmagic_sandbox.set_credits(3)

    def pause_again() -> None:
        leadmagic_sandbox.set_credits(1)
        leadmagic_sandbox.advance_bulk(1000)
        leadmagic_sandbox.bulk_speed()

    when(polls_while_paused(leadmagic_sandbox, "/v1/credits", 2), spend_elsewhere)
    when(lambda: len(leadmagic_sandbox.requests_to(f"{JOB}/resume")) == 1, pause_again)
    when(
        lambda: (
            bool(leadmagic_sandbox.requests_to(f"{JOB}/resume"))
            and leadmagic_sandbox.bulk_jobs[0].processed == 3
            and paused(leadmagic_sandbox)
        ),
        lambda: leadmagic_sandbox.set_credits(2),
    )

    xcom = task(deferrable=deferrable).run()

    assert leadmagic_sandbox.charges_per_row(xcom["job_id"]) == Counter(range(5))
    assert len(leadmagic_sandbox.requests_to(f"{JOB}/resume")) == 2


def test_without_resume_when_paused_it_waits_for_a_user_to_resume(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool, logged: Callable[[], str]
) -> None:
    pause_after(leadmagic_sandbox, when, 2)

    when(polls_while_paused(leadmagic_sandbox, JOB, 3), lambda: resume_by_hand(leadmagic_sandbox))

    assert task(resume_when_paused=False, deferrable=deferrable).run()["credits_consumed"] == 5
    assert len(leadmagic_sandbox.requests_to(f"{JOB}/resume")) == 1
    assert "is paused: resume it at LeadMagic (2 / 5 rows (40%), 2 credits used)." in logged()


def test_a_dag_that_is_changed_during_a_deferral_to_not_resume_the_job_waits_for_a_user(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When
) -> None:
    enrich = task(deferrable=True)
    leadmagic_sandbox.bulk_speed(paused_clock=True)

    def edit_dag_and_pause() -> None:
        enrich.operator.resume_when_paused = False
        leadmagic_sandbox.set_credits(2)
        leadmagic_sandbox.advance_bulk(1000)
        leadmagic_sandbox.set_credits(100)
        leadmagic_sandbox.bulk_speed()

    when(lambda: len(leadmagic_sandbox.requests_to(JOB)) >= 2, edit_dag_and_pause)
    when(polls_while_paused(leadmagic_sandbox, JOB, 5), lambda: resume_by_hand(leadmagic_sandbox))

    assert enrich.run()["credits_consumed"] == 5
    assert enrich.deferrals == ["BulkJobTrigger", "BulkJobTrigger"]
    assert len(leadmagic_sandbox.requests_to(f"{JOB}/resume")) == 1


@pytest.mark.parametrize("status", [402, 409], ids=["credits spent elsewhere", "resumed elsewhere"])
def test_a_resume_that_is_too_late_is_not_a_failure(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, status: int, deferrable: bool
) -> None:
    pause_after(leadmagic_sandbox, when, 2)
    leadmagic_sandbox.fail_next(f"{JOB}/resume", status=status)
    when(lambda: paused(leadmagic_sandbox), lambda: leadmagic_sandbox.set_credits(3))

    assert task(deferrable=deferrable).run()["credits_consumed"] == 5


@pytest.mark.usefixtures("sleeps")
@pytest.mark.parametrize("refusal", [400, 402, 409, 422])
def test_a_resume_whose_response_is_lost_and_whose_repetition_is_refused_is_not_a_failure(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, refusal: int, deferrable: bool
) -> None:
    pause_after(leadmagic_sandbox, when, 2)
    leadmagic_sandbox.fail_next(f"{JOB}/resume", lose_response=True)
    leadmagic_sandbox.fail_next(f"{JOB}/resume", status=refusal)
    when(lambda: paused(leadmagic_sandbox), lambda: leadmagic_sandbox.set_credits(3))

    xcom = task(deferrable=deferrable).run()

    assert leadmagic_sandbox.charges_per_row(xcom["job_id"]) == Counter(range(5))


@pytest.mark.parametrize("refusal", [400, 422])
def test_a_refused_resume_of_a_job_that_is_still_paused_fails_the_task(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, refusal: int
) -> None:
    pause_after(leadmagic_sandbox, when, 2)
    leadmagic_sandbox.fail_next(f"{JOB}/resume", status=refusal)
    when(lambda: paused(leadmagic_sandbox), lambda: leadmagic_sandbox.set_credits(3))

    with pytest.raises(LeadMagicRequestError, match=str(refusal)):
        task(deferrable=False).run()


def test_a_transient_error_of_the_balance_does_not_fail_a_paused_job(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When
) -> None:
    pause_after(leadmagic_sandbox, when, 2)

    def top_up_after_an_error() -> None:
        leadmagic_sandbox.fail_next("/v1/credits", retry_after=3600)
        leadmagic_sandbox.set_credits(3)

    when(lambda: paused(leadmagic_sandbox), top_up_after_an_error)

    assert task(deferrable=False).run()["credits_consumed"] == 5


def test_without_resume_when_paused_an_attempt_does_not_resume_the_job_it_joins(
    task: MakeTask, leadmagic_sandbox: Sandbox, deferrable: bool
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(resume_when_paused=False, deferrable=deferrable, timeout=0.2)
    with pytest.raises(LeadMagicTimeoutError):
        enrich.run()
    leadmagic_sandbox.set_credits(2)
    leadmagic_sandbox.advance_bulk(1000)
    leadmagic_sandbox.set_credits(100)

    with pytest.raises(LeadMagicTimeoutError):
        enrich.retry()

    assert leadmagic_sandbox.requests_to(f"{JOB}/resume") == []


def test_polling_continues_in_an_unknown_state(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool, logged: Callable[[], str]
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)

    def return_unknown_state() -> None:
        counts = '"total_rows": 5, "processed_items": 5'
        body = f'{{"job_id": "{leadmagic_sandbox.bulk_jobs[0].job_id}", "status": "reticulating", {counts}}}'
        leadmagic_sandbox.fail_next(JOB, body=body, times=3)
        leadmagic_sandbox.bulk_speed()

    when(lambda: is_polled(leadmagic_sandbox), return_unknown_state)

    assert task(deferrable=deferrable).run()["status"] == "completed"
    assert "has status 'reticulating' although all rows are processed: 5 / 5 rows" in logged()


@pytest.mark.parametrize("failures", [3, 4])
def test_a_new_job_may_be_missing_for_a_few_polls(task: MakeTask, leadmagic_sandbox: Sandbox, failures: int) -> None:
    leadmagic_sandbox.fail_next(JOB, status=404)  # the poll right after the submission
    leadmagic_sandbox.fail_next(JOB, status=404, times=failures)
    enrich = task(deferrable=True)

    if failures == 3:
        assert enrich.run()["status"] == "completed"
    else:
        with pytest.raises(LeadMagicNotFoundError):
            enrich.run()


@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_a_failed_or_canceled_job_fails_the_task_without_retry(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, status: str, deferrable: bool
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)

    def end() -> None:
        leadmagic_sandbox.advance_bulk(2)
        job_id = leadmagic_sandbox.bulk_jobs[0].job_id
        if status == "failed":
            leadmagic_sandbox.fail_job(job_id)
        else:
            with LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url) as client:
                client.bulk.cancel(job_id)

    when(lambda: is_polled(leadmagic_sandbox), end)

    with pytest.raises(
        AirflowFailException, match=rf"^Bulk job \S+ {status} at LeadMagic: 2 / 5 rows \(40%\), 2 credits used"
    ):
        task(deferrable=deferrable).run()


def test_a_failed_job_is_not_submitted_again_by_a_retry(task: MakeTask, leadmagic_sandbox: Sandbox, when: When) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    when(
        lambda: is_polled(leadmagic_sandbox),
        lambda: leadmagic_sandbox.fail_job(leadmagic_sandbox.bulk_jobs[0].job_id),
    )
    enrich = task(store=False)
    for attempt in (enrich.run, enrich.retry):
        with pytest.raises(AirflowFailException):
            attempt()

    assert len(leadmagic_sandbox.bulk_jobs) == 1
