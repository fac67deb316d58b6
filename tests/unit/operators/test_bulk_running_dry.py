"""A job that pauses for want of credits: it waits, goes on, and is paid once. And jobs that end badly."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.compat.imports import AirflowFailException
from airflow_provider_leadmagic.exceptions import LeadMagicNotFoundError, LeadMagicTimeoutError
from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_mock import MockerFixture

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from tests.unit.operators.conftest import MakeTask, When

JOB = "/bulk/jobs/*"


def runs_dry_after(sandbox: Sandbox, when: When, rows: int) -> None:
    """Let a job do so many rows, and then have nothing left to spend."""
    sandbox.bulk_speed(paused_clock=True)

    def spend() -> None:
        sandbox.set_credits(rows)
        sandbox.advance_bulk(1000)
        sandbox.bulk_speed()

    when(lambda: bool(sandbox.requests_to(JOB)), spend)


def paused(sandbox: Sandbox) -> bool:
    return [job.status for job in sandbox.bulk_jobs] == ["paused"]


def resume_by_hand(sandbox: Sandbox) -> None:
    """Resume the job outside of its task, with credits for the rows that are left."""
    sandbox.set_credits(3)
    with LeadMagicClient(sandbox.api_key, sandbox.url) as client:
        client.bulk.resume(sandbox.bulk_jobs[0].job_id)


def looks_while_paused(sandbox: Sandbox, path: str, number: int) -> Callable[[], bool]:
    counted: list[int] = []

    def reached() -> bool:
        if not paused(sandbox):
            return False
        counted.append(len(sandbox.requests_to(path)))
        return counted[-1] >= counted[0] + number

    return reached


def test_it_waits_for_what_the_rest_can_cost_and_goes_on(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool, said: Callable[[], str]
) -> None:
    runs_dry_after(leadmagic_sandbox, when, 2)
    when(looks_while_paused(leadmagic_sandbox, "/v1/credits", 3), lambda: leadmagic_sandbox.set_credits(13))

    xcom = task(minimum_balance_after=10, deferrable=deferrable).run()

    assert xcom["credits_consumed"] == 5
    assert leadmagic_sandbox.charges_per_row(xcom["job_id"]) == Counter(range(5))
    told = said()
    assert "is paused: 2 / 5 rows (40%), 2 credits used." in told
    assert (
        "Waiting for credits: 13 short (0 spendable, 13 required) on connection 'leadmagic_default'. Next poll in "
        in told
    )
    assert "Credits sufficient: 13 spendable, 13 required on connection 'leadmagic_default'." in told
    assert "goes on." in told


def test_it_is_not_resumed_for_less_than_the_rest_can_cost(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool
) -> None:
    runs_dry_after(leadmagic_sandbox, when, 2)
    when(looks_while_paused(leadmagic_sandbox, "/v1/credits", 3), lambda: leadmagic_sandbox.set_credits("12.99"))
    when(looks_while_paused(leadmagic_sandbox, "/v1/credits", 6), lambda: leadmagic_sandbox.set_credits(13))

    task(minimum_balance_after=10, deferrable=deferrable).run()

    assert len(leadmagic_sandbox.requests_to(f"{JOB}/resume")) == 1


def test_credits_that_are_gone_again_when_the_task_goes_on_are_waited_for_again(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, mocker: MockerFixture
) -> None:
    runs_dry_after(leadmagic_sandbox, when, 2)
    when(looks_while_paused(leadmagic_sandbox, "/v1/credits", 2), lambda: leadmagic_sandbox.set_credits(3))
    tell = BulkEnrichmentOperator._log_credits_sufficient
    spent_meanwhile = iter([2, 3])  # by somebody else, before the task that was deferred runs again

    def told(operator: BulkEnrichmentOperator, event: dict[str, Any]) -> None:
        left = next(spent_meanwhile)
        leadmagic_sandbox.set_credits(left)
        if left < 3:
            when(looks_while_paused(leadmagic_sandbox, "/v1/credits", 2), lambda: leadmagic_sandbox.set_credits(3))
        tell(operator, event)

    mocker.patch.object(BulkEnrichmentOperator, "_log_credits_sufficient", autospec=True, side_effect=told)
    enrich = task(deferrable=True)

    enrich.run()

    assert enrich.deferrals.count("PausedBulkJobTrigger") == 2
    assert len(leadmagic_sandbox.requests_to(f"{JOB}/resume")) == 1


def test_it_waits_with_a_trigger_that_knows_the_job(task: MakeTask, leadmagic_sandbox: Sandbox, when: When) -> None:
    runs_dry_after(leadmagic_sandbox, when, 2)
    when(looks_while_paused(leadmagic_sandbox, "/v1/credits", 3), lambda: leadmagic_sandbox.set_credits(3))
    enrich = task(deferrable=True)

    enrich.run()

    assert enrich.deferrals == ["BulkJobTrigger", "PausedBulkJobTrigger", "BulkJobTrigger"]


def test_one_that_somebody_else_resumed_meanwhile_is_not_resumed_again(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool
) -> None:
    runs_dry_after(leadmagic_sandbox, when, 2)

    def resume_by_hand_and_top_up() -> None:
        resume_by_hand(leadmagic_sandbox)
        leadmagic_sandbox.set_credits(100)

    when(looks_while_paused(leadmagic_sandbox, "/v1/credits", 2), resume_by_hand_and_top_up)

    assert task(deferrable=deferrable).run()["credits_consumed"] == 5
    assert len(leadmagic_sandbox.requests_to(f"{JOB}/resume")) == 1


def test_a_job_that_runs_dry_again_and_again_is_resumed_each_time(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool
) -> None:
    runs_dry_after(leadmagic_sandbox, when, 2)

    def somebody_else_spends() -> None:
        leadmagic_sandbox.bulk_speed(paused_clock=True)
        leadmagic_sandbox.set_credits(3)

    def once_more() -> None:
        leadmagic_sandbox.set_credits(1)
        leadmagic_sandbox.advance_bulk(1000)
        leadmagic_sandbox.bulk_speed()

    when(looks_while_paused(leadmagic_sandbox, "/v1/credits", 2), somebody_else_spends)
    when(lambda: len(leadmagic_sandbox.requests_to(f"{JOB}/resume")) == 1, once_more)
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


def test_it_leaves_a_paused_job_to_people_when_told_to(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool, said: Callable[[], str]
) -> None:
    runs_dry_after(leadmagic_sandbox, when, 2)

    when(looks_while_paused(leadmagic_sandbox, JOB, 3), lambda: resume_by_hand(leadmagic_sandbox))

    assert task(resume_when_paused=False, deferrable=deferrable).run()["credits_consumed"] == 5
    assert len(leadmagic_sandbox.requests_to(f"{JOB}/resume")) == 1
    assert "is paused, and waits to be resumed at LeadMagic: 2 / 5 rows (40%), 2 credits used." in said()


@pytest.mark.parametrize("status", [402, 409], ids=["somebody else spent the credits", "somebody else resumed it"])
def test_a_resume_that_comes_too_late_is_no_failure(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, status: int, deferrable: bool
) -> None:
    runs_dry_after(leadmagic_sandbox, when, 2)
    leadmagic_sandbox.fail_next(f"{JOB}/resume", status=status)
    when(lambda: paused(leadmagic_sandbox), lambda: leadmagic_sandbox.set_credits(3))

    assert task(deferrable=deferrable).run()["credits_consumed"] == 5


def test_a_balance_that_cannot_be_read_just_now_does_not_fail_a_paused_job(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When
) -> None:
    runs_dry_after(leadmagic_sandbox, when, 2)

    def top_up_in_bad_weather() -> None:
        leadmagic_sandbox.fail_next("/v1/credits", retry_after=3600)
        leadmagic_sandbox.set_credits(3)

    when(lambda: paused(leadmagic_sandbox), top_up_in_bad_weather)

    assert task(deferrable=False).run()["credits_consumed"] == 5


def test_a_try_that_joins_a_paused_job_leaves_it_to_people_too_when_told_to(
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


def test_a_state_nobody_has_heard_of_is_waited_out(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool, said: Callable[[], str]
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)

    def reticulate() -> None:
        counts = '"total_rows": 5, "processed_items": 5'
        body = f'{{"job_id": "{leadmagic_sandbox.bulk_jobs[0].job_id}", "status": "reticulating", {counts}}}'
        leadmagic_sandbox.fail_next(JOB, body=body, times=3)
        leadmagic_sandbox.bulk_speed()

    when(lambda: bool(leadmagic_sandbox.requests_to(JOB)), reticulate)

    assert task(deferrable=deferrable).run()["status"] == "completed"
    assert "is reticulating although all rows are done: 5 / 5 rows" in said()


@pytest.mark.parametrize("looks", [3, 4])
def test_a_job_that_leadmagic_does_not_know_yet_is_waited_for_a_little(
    task: MakeTask, leadmagic_sandbox: Sandbox, looks: int
) -> None:
    leadmagic_sandbox.fail_next(JOB, status=404)  # the look right after the order
    leadmagic_sandbox.fail_next(JOB, status=404, times=looks)
    enrich = task(deferrable=True)

    if looks == 3:
        assert enrich.run()["status"] == "completed"
    else:
        with pytest.raises(LeadMagicNotFoundError):
            enrich.run()


@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_a_job_that_ends_badly_fails_the_task_for_good(
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

    when(lambda: bool(leadmagic_sandbox.requests_to(JOB)), end)

    with pytest.raises(AirflowFailException, match=rf"is {status} at LeadMagic: 2 / 5 rows \(40%\), 2 credits used"):
        task(deferrable=deferrable).run()


def test_a_job_that_failed_is_not_ordered_again_by_a_retry(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    when(
        lambda: bool(leadmagic_sandbox.requests_to(JOB)),
        lambda: leadmagic_sandbox.fail_job(leadmagic_sandbox.bulk_jobs[0].job_id),
    )
    enrich = task(store=False)
    for attempt in (enrich.run, enrich.retry):
        with pytest.raises(AirflowFailException):
            attempt()

    assert len(leadmagic_sandbox.bulk_jobs) == 1
