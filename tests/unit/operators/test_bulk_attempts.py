"""However an attempt ends, the next one joins the existing job; only clearing the task submits a new one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.api.bulk import Bulk
from airflow_provider_leadmagic.bulk.previous_attempts import SubmittedJob
from airflow_provider_leadmagic.bulk.progress import JobProgress
from airflow_provider_leadmagic.bulk.submission import BulkSubmission, idempotency_key
from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.exceptions import (
    LeadMagicConnectionError,
    LeadMagicRequestError,
)
from tests.support.bulk_task_runner import Killed, TaskInstance

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_mock import MockerFixture

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from tests.support.bulk_task_runner import Task
    from tests.unit.operators.conftest import MakeTask

MOMENTS: dict[str, tuple[type, str]] = {
    "before the submission": (BulkSubmission, "submit"),
    "after the submission": (SubmittedJob, "save"),
    "while waiting": (JobProgress, "poll"),
    "while downloading": (Bulk, "download"),
}


@pytest.fixture(params=["with a state store", "without a state store"])
def store(request: pytest.FixtureRequest) -> bool:
    """Run the test with the state store of Airflow 3.3+ and without one, as on older versions."""
    return request.param == "with a state store"


def kill_attempt(enrich: Task, mocker: MockerFixture, moment: str) -> None:
    patch = mocker.patch.object(*MOMENTS[moment], side_effect=Killed)
    with pytest.raises(Killed):
        enrich.run()
    mocker.stop(patch)


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_attempt_after_a_killed_one_charges_nothing_twice(
    task: MakeTask,
    leadmagic_sandbox: Sandbox,
    mocker: MockerFixture,
    written: Callable[[], list[dict[str, str]]],
    moment: str,
    store: bool,
    deferrable: bool,
) -> None:
    enrich = task(store=store, deferrable=deferrable)
    kill_attempt(enrich, mocker, moment)

    xcom = enrich.retry()

    [job] = leadmagic_sandbox.bulk_jobs
    assert xcom["job_id"] == job.job_id
    assert leadmagic_sandbox.charges_per_row(job.job_id) == Counter(range(5))
    assert [row["crm_id"] for row in written()] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("moment", ["after the submission", "while waiting", "while downloading"])
def test_a_job_that_spent_all_credits_is_joined(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, moment: str, store: bool
) -> None:
    leadmagic_sandbox.set_credits(5)
    enrich = task(store=store)
    kill_attempt(enrich, mocker, moment)
    assert leadmagic_sandbox.bulk_jobs[0].processed == 5
    assert leadmagic_sandbox.credits == 0

    assert enrich.retry()["credits_estimated"] == 5


@pytest.mark.usefixtures("sleeps")
def test_a_job_whose_response_is_lost_is_joined_within_the_attempt(task: MakeTask, leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.fail_next("/bulk/submit", lose_response=True)

    task().run()

    [job] = leadmagic_sandbox.bulk_jobs
    assert leadmagic_sandbox.submits_of(job.idempotency_key or "") == 2


@pytest.mark.usefixtures("sleeps")
def test_a_job_whose_submission_never_got_a_response_is_joined_by_the_next_attempt(
    task: MakeTask, leadmagic_sandbox: Sandbox, store: bool
) -> None:
    leadmagic_sandbox.fail_next("/bulk/submit", lose_response=True, times=4)
    enrich = task(store=store)
    with pytest.raises(LeadMagicConnectionError):
        enrich.run()

    enrich.retry()

    assert len(leadmagic_sandbox.bulk_jobs) == 1


def test_with_a_state_store_the_list_of_jobs_is_not_requested(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture
) -> None:
    enrich = task(store=True)
    kill_attempt(enrich, mocker, "while waiting")

    enrich.retry()

    assert leadmagic_sandbox.requests_to("/bulk/jobs") == []
    assert len(leadmagic_sandbox.requests_to("/bulk/submit")) == 1


@pytest.mark.parametrize(("store", "previews"), [(True, 1), (False, 2)])
def test_with_a_state_store_the_price_is_not_requested_again(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, store: bool, previews: int
) -> None:
    enrich = task(store=store)
    kill_attempt(enrich, mocker, "while waiting")

    assert enrich.retry()["credits_estimated"] == 5
    assert len(leadmagic_sandbox.requests_to("/v1/batch/preview-cost")) == previews


def test_a_job_found_in_the_list_is_saved_in_the_state_store(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture
) -> None:
    enrich = task(store=True)
    kill_attempt(enrich, mocker, "after the submission")
    enrich.ti.try_number += 1
    kill_attempt(enrich, mocker, "while waiting")

    enrich.retry()

    assert len(leadmagic_sandbox.requests_to("/bulk/jobs")) == 1


def test_the_job_is_found_behind_a_thousand_newer_ones(task: MakeTask, leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.set_credits(5)
    enrich = task(store=False, on_insufficient="fail")
    first = enrich.run()
    for _ in range(1001):
        leadmagic_sandbox.make_up_job(1)

    assert enrich.retry()["job_id"] == first["job_id"]


def test_a_first_attempt_does_not_search_for_a_job(task: MakeTask, leadmagic_sandbox: Sandbox) -> None:
    task().run()

    assert leadmagic_sandbox.requests_to("/bulk/jobs") == []


def test_a_cleared_task_submits_a_new_job(task: MakeTask, leadmagic_sandbox: Sandbox, store: bool) -> None:
    enrich = task(store=store)
    first = enrich.run()

    enrich.clear()
    second = enrich.retry()

    assert second["job_id"] != first["job_id"]
    assert len(leadmagic_sandbox.bulk_jobs) == 2


def test_attempts_after_a_clear_join_the_new_job(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, store: bool
) -> None:
    enrich = task(store=store)
    enrich.run()
    enrich.clear()
    enrich.ti.try_number += 1
    kill_attempt(enrich, mocker, "while downloading")

    xcom = enrich.retry()

    assert xcom["job_id"] == leadmagic_sandbox.bulk_jobs[1].job_id
    assert len(leadmagic_sandbox.bulk_jobs) == 2


def test_a_running_job_is_canceled_when_a_clear_replaces_it(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, store: bool
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    other = task(store=store)
    other.ti.task_id = "another"
    kill_attempt(other, mocker, "while waiting")
    enrich = task(store=store)
    kill_attempt(enrich, mocker, "while waiting")
    enrich.clear()
    leadmagic_sandbox.fail_next("/bulk/submit", status=400)
    with pytest.raises(LeadMagicRequestError):
        enrich.retry()

    assert [job.status for job in leadmagic_sandbox.bulk_jobs] == ["uploaded", "canceled"]


@pytest.mark.parametrize("attempt", [1, 2])
def test_an_accepted_job_is_joined_although_leadmagic_returns_402_to_the_retry(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, attempt: int
) -> None:
    enrich = task(on_insufficient="fail")
    if attempt == 2:
        kill_attempt(enrich, mocker, "before the submission")
    leadmagic_sandbox.fail_next("/bulk/submit", lose_response=True)
    leadmagic_sandbox.fail_next("/bulk/submit", status=402)

    xcom = enrich.run() if attempt == 1 else enrich.retry()

    assert xcom["job_id"] == leadmagic_sandbox.bulk_jobs[0].job_id


def test_a_task_that_was_cleared_while_running_replaces_its_canceled_job(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, store: bool
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(store=store)
    kill_attempt(enrich, mocker, "while waiting")
    cancel(leadmagic_sandbox)  # as on_kill does; Airflow may leave max_tries alone here
    leadmagic_sandbox.bulk_speed()

    second = task(store=store)
    second.store, second.ti = enrich.store, enrich.ti
    second.ti.try_number += 1
    kill_attempt(second, mocker, "while downloading")
    xcom = enrich.retry()

    assert [job.status for job in leadmagic_sandbox.bulk_jobs] == ["canceled", "completed"]
    assert xcom["job_id"] == leadmagic_sandbox.bulk_jobs[1].job_id


@pytest.mark.parametrize("canceled", [1, 2])
def test_the_job_that_replaced_canceled_ones_is_joined(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, canceled: int, store: bool
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(store=store)
    kill_attempt(enrich, mocker, "while waiting")
    for _ in range(canceled):
        cancel(leadmagic_sandbox)
        enrich.ti.try_number += 1
        kill_attempt(enrich, mocker, "while waiting")
    leadmagic_sandbox.bulk_speed()

    xcom = enrich.retry()

    assert xcom["job_id"] == leadmagic_sandbox.bulk_jobs[canceled].job_id
    assert len(leadmagic_sandbox.requests_to("/bulk/submit")) == canceled + 1


def cancel(sandbox: Sandbox) -> None:
    with LeadMagicClient(sandbox.api_key, sandbox.url) as client:
        client.bulk.cancel(sandbox.bulk_jobs[-1].job_id)


SAME = {"a retry": {"try_number": 2}}
OTHER: dict[str, dict[str, Any]] = {
    "another DAG": {"dag_id": "day"},
    "another task": {"task_id": "enrich_more"},
    "another run": {"run_id": "run2"},
    "another mapped task": {"map_index": 0},
    "a clear": {"max_tries": 3},
    "names with the same concatenation": {"dag_id": "nig", "run_id": "htrun"},
}


@pytest.mark.parametrize("change", SAME)
def test_attempts_of_one_task_have_the_same_key(change: str) -> None:
    assert idempotency_key(TaskInstance(**SAME[change])) == idempotency_key(TaskInstance())


@pytest.mark.parametrize("change", OTHER)
def test_other_tasks_have_another_key(change: str) -> None:
    assert idempotency_key(TaskInstance(**OTHER[change])) != idempotency_key(TaskInstance())


def test_the_key_does_not_reveal_dag_names() -> None:
    key = idempotency_key(TaskInstance(dag_id="secret_project"))

    assert key.startswith("airflow-")
    assert "secret" not in key
