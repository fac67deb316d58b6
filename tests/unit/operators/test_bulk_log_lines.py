"""What people read in the task's log: which job is theirs, what it can cost, why a try does what it does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from airflow_provider_leadmagic.bulk.cancel import cancel
from airflow_provider_leadmagic.bulk.progress import JobProgress
from airflow_provider_leadmagic.client import LeadMagicClient
from tests.support.bulk_task_runner import Killed

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_mock import MockerFixture

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from tests.support.bulk_task_runner import Task
    from tests.unit.operators.conftest import MakeTask, When

PREVIEW = "/v1/batch/preview-cost"


def test_they_name_the_price_and_then_the_job(
    task: MakeTask, leadmagic_sandbox: Sandbox, said: Callable[[], str]
) -> None:
    task().run()

    [job] = leadmagic_sandbox.bulk_jobs
    told = said()
    assert "5 rows of email_finder cost up to 5." in told
    assert f"Ordered job {job.job_id} of 5 rows." in told


@pytest.mark.parametrize("exceeds", [True, False])
def test_they_warn_of_a_budget_that_is_exceeded(
    task: MakeTask, leadmagic_sandbox: Sandbox, said: Callable[[], str], exceeds: bool
) -> None:
    answer = {"totalItems": 5, "totalCredits": 5, "willExceedBudget": exceeds}
    leadmagic_sandbox.fail_next(PREVIEW, body=json.dumps(answer))

    task().run()

    assert ("this exceeds a budget" in said()) is exceeds


@pytest.mark.parametrize(("interval", "warned"), [(0.02, True), (44.9, True), (45, False), (60, False)])
def test_they_warn_of_looks_that_are_more_frequent_than_leadmagic_asks_for(
    task: MakeTask, said: Callable[[], str], interval: float, warned: bool
) -> None:
    task(poll_interval=interval).run()  # done at the first look

    assert (f"poll_interval is {interval:g} s; LeadMagic asks for 45 s" in said()) is warned


def test_a_deferred_task_repeats_what_its_trigger_saw(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, said: Callable[[], str]
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    when(lambda: bool(leadmagic_sandbox.requests_to("/bulk/jobs/*")), leadmagic_sandbox.bulk_speed)

    xcom = task(deferrable=True).run()

    assert said().count(f"Job {xcom['job_id']} is completed: 5 / 5 rows (100%), 5 credits used.") == 2


def test_a_deferred_task_says_that_it_has_the_credits_to_order(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, said: Callable[[], str]
) -> None:
    leadmagic_sandbox.set_credits(4)
    when(lambda: len(leadmagic_sandbox.requests_to("/v1/credits")) >= 2, lambda: leadmagic_sandbox.set_credits(5))

    task(deferrable=True).run()

    line = "Credits sufficient: 5 spendable, 5 required on connection 'leadmagic_default'."
    assert said().count(line) == 2  # the trigger's, and the task's


def test_a_try_names_the_job_it_joins(task: MakeTask, leadmagic_sandbox: Sandbox, said: Callable[[], str]) -> None:
    enrich = task()
    xcom = enrich.run()

    enrich.retry()

    assert f"Joining job {xcom['job_id']}, which an earlier try ordered." in said()


def test_a_try_says_why_it_orders_a_second_job(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, said: Callable[[], str]
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task()
    dies_while_waiting(enrich, mocker)
    [first] = leadmagic_sandbox.bulk_jobs
    with LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url) as client:
        client.bulk.cancel(first.job_id)
    leadmagic_sandbox.bulk_speed()

    enrich.retry()

    assert f"Job {first.job_id} of an earlier try was canceled: a new one is ordered." in said()


def dies_while_waiting(enrich: Task, mocker: MockerFixture) -> None:
    look = mocker.patch.object(JobProgress, "look", side_effect=Killed)
    with pytest.raises(Killed):
        enrich.run()
    mocker.stop(look)


def test_they_say_what_was_paid_when_a_job_is_canceled_with_its_task(
    leadmagic_sandbox: Sandbox, said: Callable[[], str], task: MakeTask
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    with LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url) as client:
        rows = [{"full_name": "Ada Lovelace", "domain": "example.com"}]
        job_id = client.bulk.submit("email_finder", rows, idempotency_key="key").job_id

        cancel(task().operator.log, client, job_id)

    expected = f"Job {job_id} was canceled at LeadMagic, as its task was ended. Rows done by then are paid."
    assert expected in said()
