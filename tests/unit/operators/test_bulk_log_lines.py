"""The log of a task shows its job, the price, and the reason for what each attempt does."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.bulk.cancel import cancel
from airflow_provider_leadmagic.bulk.progress import JobProgress
from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator
from tests.support.airflow_names import DAG
from tests.support.bulk_task_runner import Killed, Task
from tests.unit.operators.conftest import leads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_mock import MockerFixture

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from tests.unit.operators.conftest import MakeTask, When

PREVIEW = "/v1/batch/preview-cost"


def test_price_and_job_are_logged(task: MakeTask, leadmagic_sandbox: Sandbox, logged: Callable[[], str]) -> None:
    task().run()

    [job] = leadmagic_sandbox.bulk_jobs
    log = logged()
    assert "Cost preview: up to 5 credits for 5 rows of email_finder." in log
    assert f"Submitted bulk job {job.job_id} (5 rows)." in log


@pytest.mark.parametrize("exceeds", [True, False])
def test_an_exceeded_budget_is_logged(
    task: MakeTask, leadmagic_sandbox: Sandbox, logged: Callable[[], str], exceeds: bool
) -> None:
    preview = {"totalItems": 5, "totalCredits": 5, "willExceedBudget": exceeds}
    leadmagic_sandbox.fail_next(PREVIEW, body=json.dumps(preview))

    task().run()

    assert ("the job exceeds a budget" in logged()) is exceeds


@pytest.mark.parametrize(("interval", "warned"), [(0.02, True), (44.9, True), (45, False), (60, False)])
def test_a_short_poll_interval_is_logged(
    task: MakeTask, logged: Callable[[], str], interval: float, warned: bool
) -> None:
    task(poll_interval=interval).run()  # finished at the first poll

    assert (
        f"poll_interval is {interval:g} s; LeadMagic asks for at least 45 s between polls of a job." in logged()
    ) is warned


def test_a_deferred_task_logs_the_last_progress_of_its_trigger(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, logged: Callable[[], str]
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    when(lambda: bool(leadmagic_sandbox.requests_to("/bulk/jobs/*")), leadmagic_sandbox.bulk_speed)

    xcom = task(deferrable=True).run()

    assert logged().count(f"Bulk job {xcom['job_id']} is completed: 5 / 5 rows (100%), 5 credits used.") == 2


def test_a_deferred_task_logs_that_credits_are_sufficient(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, logged: Callable[[], str]
) -> None:
    leadmagic_sandbox.set_credits(4)
    when(lambda: len(leadmagic_sandbox.requests_to("/v1/credits")) >= 2, lambda: leadmagic_sandbox.set_credits(5))

    task(deferrable=True).run()

    line = "Credits sufficient: 5 spendable, 5 required on connection 'leadmagic_default'."
    assert logged().count(line) == 2  # the trigger's, and the task's


def test_a_joined_job_is_logged(task: MakeTask, leadmagic_sandbox: Sandbox, logged: Callable[[], str]) -> None:
    enrich = task()
    xcom = enrich.run()

    enrich.retry()

    assert f"Joined bulk job {xcom['job_id']}, which was already submitted for this task." in logged()


def test_the_reason_for_a_second_job_is_logged(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, logged: Callable[[], str]
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task()
    die_while_waiting(enrich, mocker)
    [first] = leadmagic_sandbox.bulk_jobs
    enrich.clear()
    enrich.ti.try_number += 1

    die_while_waiting(enrich, mocker)

    assert f"Canceled bulk job {first.job_id} because the task was cleared. " in logged()
    assert "Progress of the job: 0 / 5 rows (0%), 0 credits" in logged()


def test_the_reason_for_canceling_a_duplicate_is_logged(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, logged: Callable[[], str]
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(store=False)
    die_while_waiting(enrich, mocker)
    with LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url) as client:
        [joined] = client.bulk.list()
        client.bulk.submit("email_finder", leads(5), idempotency_key="any", file_name=joined.file_name)
    enrich.ti.try_number += 1

    die_while_waiting(enrich, mocker)

    [canceled] = (job for job in leadmagic_sandbox.bulk_jobs if job.status == "canceled")
    assert f"Canceled bulk job {canceled.job_id} because another job has the same idempotency key. " in logged()


def die_while_waiting(enrich: Task, mocker: MockerFixture) -> None:
    poll = mocker.patch.object(JobProgress, "poll", side_effect=Killed)
    with pytest.raises(Killed):
        enrich.run()
    mocker.stop(poll)


def test_a_cancellation_is_logged_with_its_cost(
    leadmagic_sandbox: Sandbox, logged: Callable[[], str], task: MakeTask
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    with LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url) as client:
        rows = [{"full_name": "Ada Lovelace", "domain": "example.com"}]
        job_id = client.bulk.submit("email_finder", rows, idempotency_key="key").job_id

        cancel(task().operator.log, client, job_id)

    expected = f"Canceled bulk job {job_id} because its task was ended. Its hits so far are charged."
    assert expected in logged()


@pytest.mark.parametrize("mapped", [False, True], ids=["not mapped", "mapped"])
@pytest.mark.parametrize(("arguments", "warns"), [({}, True), ({"timeout": timedelta(days=7)}, False)])
def test_a_timeout_that_comes_from_default_args_is_reported(
    leadmagic_sandbox: Sandbox,
    output: Path,
    logged: Callable[[], str],
    arguments: dict[str, Any],
    warns: bool,
    mapped: bool,
) -> None:
    arguments = {"task_id": "enrich", "product": "email_finder", "poll_interval": 60, **arguments}
    expanded = {"output_path": str(output), "rows": leads(1)}
    with DAG("sensors", schedule=None, default_args={"timeout": 3600}):
        if mapped:
            partial = BulkEnrichmentOperator.partial(**arguments)
            operator = partial.expand(**{name: [value] for name, value in expanded.items()}).unmap(expanded)
        else:
            operator = BulkEnrichmentOperator(**arguments, **expanded)

    Task(operator).run()

    warning = (
        "The attempt's timeout of 3600 s comes from default_args: "
        "set timeout on this task if that value is meant for sensors"
    )
    assert (warning in logged()) is warns
