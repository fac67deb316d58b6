"""However an attempt ends, the next one joins the existing job; only clearing the task submits a new one."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.api.bulk import Bulk
from airflow_provider_leadmagic.bulk.previous_attempts import SubmittedJob
from airflow_provider_leadmagic.bulk.progress import JobProgress
from airflow_provider_leadmagic.bulk.submission import BulkSubmission, idempotency_key, is_of_same_task, job_name
from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.compat.imports import AirflowFailException, AirflowSkipException
from airflow_provider_leadmagic.exceptions import (
    LeadMagicConfigurationError,
    LeadMagicConnectionError,
    LeadMagicError,
    LeadMagicPermissionError,
    LeadMagicRequestError,
    LeadMagicResponseError,
)
from airflow_provider_leadmagic.operators._bulk_waiting import TriggererWait, WorkerWait
from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from tests.support.bulk_task_runner import DagRun, Killed, TaskInstance
from tests.support.mounts import Mounts
from tests.unit.operators.conftest import leads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_mock import MockerFixture

    from tests.support.bulk_task_runner import Task
    from tests.unit.operators.conftest import MakeTask, When

#: Environment variable, without ``AIRFLOW__``, for the URL of Airflow's web interface; Airflow 2 has another one.
BASE_URL = "API__BASE_URL" if find_spec("airflow.sdk") else "WEBSERVER__BASE_URL"
EXECUTION_URL = "CORE__EXECUTION_API_SERVER_URL"
LOGICAL_DATE = datetime(2026, 1, 1, tzinfo=UTC)
#: A run with the same ID that started at another moment, as in another Airflow.
LATER = DagRun(DagRun.start_date + timedelta(microseconds=1))
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

    assert enrich.retry()["credits_consumed"] == 5


@pytest.mark.usefixtures("sleeps")
def test_a_job_whose_response_is_lost_is_joined_within_the_attempt(task: MakeTask, leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.fail_next("/bulk/submit", lose_response=True)

    task().run()

    [job] = leadmagic_sandbox.bulk_jobs
    assert leadmagic_sandbox.submits_of(job.idempotency_key or "") == 2


def test_a_job_whose_submission_never_got_a_response_is_joined_by_the_next_attempt(
    task: MakeTask, leadmagic_sandbox: Sandbox, store: bool, sleeps: list[float]
) -> None:
    leadmagic_sandbox.fail_next("/bulk/submit", lose_response=True, times=4)
    leadmagic_sandbox.fail_next("/bulk/jobs", status=503, times=16)  # four requests in each of four searches
    enrich = task(store=store)
    with pytest.raises(LeadMagicConnectionError):
        enrich.run()
    # The pauses between repeated requests are random, not whole seconds.
    assert [pause for pause in sleeps if pause in range(10)] == [0, 1, 2, 4]

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


def test_a_retry_waits_for_a_stored_job_that_leadmagic_does_not_return_yet(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, deferrable: bool
) -> None:
    enrich = task(store=True, deferrable=deferrable)
    kill_attempt(enrich, mocker, "while waiting")
    leadmagic_sandbox.fail_next("/bulk/jobs/*", status=404, times=3)

    assert enrich.retry()["job_id"] == leadmagic_sandbox.bulk_jobs[0].job_id
    assert len(leadmagic_sandbox.requests_to("/bulk/submit")) == 1


PREVIEW = "/v1/batch/preview-cost"


def test_a_joined_job_is_delivered_although_its_price_is_refused(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, store: bool
) -> None:
    enrich = task(store=store)
    kill_attempt(enrich, mocker, "while waiting")
    leadmagic_sandbox.fail_next(PREVIEW, status=403, times=None)

    xcom = enrich.retry()

    assert (xcom["succeeded"], xcom["credits_estimated"]) == (5, 5 if store else None)


@pytest.mark.parametrize(("store", "previews"), [(True, 1), (False, 2)])
def test_a_joined_job_is_priced_again_only_if_it_must_be_resumed_and_there_is_no_state_store(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, store: bool, previews: int, deferrable: bool
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(store=store, deferrable=deferrable)
    kill_attempt(enrich, mocker, "while waiting")
    leadmagic_sandbox.set_credits(2)
    leadmagic_sandbox.advance_bulk(5)
    leadmagic_sandbox.set_credits(3)
    leadmagic_sandbox.bulk_speed()

    xcom = enrich.retry()

    assert (xcom["succeeded"], xcom["credits_estimated"]) == (5, 5)
    assert len(leadmagic_sandbox.requests_to(PREVIEW)) == previews


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


@pytest.mark.usefixtures("sleeps")
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


@pytest.mark.parametrize("all_retries", [(3, 1, 2, 5, 1), (3, 0, 1, 0), (0, 0, 0)])
def test_one_job_at_most_is_running_after_any_sequence_of_clears(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, store: bool, all_retries: tuple[int, ...]
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(store=store)
    for retries in all_retries:  # the user clears the task, each time with other `retries` in the DAG
        kill_attempt(enrich, mocker, "while waiting")
        assert [job.status for job in leadmagic_sandbox.bulk_jobs].count("uploaded") <= 1
        enrich.clear(retries)
        enrich.ti.try_number += 1
    kill_attempt(enrich, mocker, "while waiting")

    assert [job.status for job in leadmagic_sandbox.bulk_jobs].count("uploaded") <= 1


def test_only_the_last_job_is_charged_after_several_clears(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, store: bool
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(store=store)
    for retries in (3, 1, 2, 5, 1):
        kill_attempt(enrich, mocker, "while waiting")
        enrich.clear(retries)
        enrich.ti.try_number += 1
    kill_attempt(enrich, mocker, "while waiting")
    leadmagic_sandbox.bulk_speed()

    xcom = enrich.retry()

    *replaced, last = leadmagic_sandbox.bulk_jobs
    assert xcom["job_id"] == last.job_id
    assert [job.status for job in replaced] == ["canceled"] * 5
    assert sum(leadmagic_sandbox.charges_per_row(job.job_id).total() for job in replaced) == 0


@pytest.mark.parametrize("retries", [0, 1])
def test_the_job_of_an_attempt_without_retries_is_canceled_when_a_clear_replaces_it(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, store: bool, retries: int
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(store=store)
    enrich.ti.max_tries = 0  # Airflow's default for `retries`
    kill_attempt(enrich, mocker, "while waiting")
    enrich.clear(retries)
    enrich.ti.try_number += 1
    kill_attempt(enrich, mocker, "while waiting")

    assert [job.status for job in leadmagic_sandbox.bulk_jobs] == ["canceled", "uploaded"]


def test_a_finished_job_that_a_clear_replaces_is_not_canceled(task: MakeTask, leadmagic_sandbox: Sandbox) -> None:
    enrich = task()
    enrich.run()
    enrich.clear()

    enrich.retry()

    assert [job.status for job in leadmagic_sandbox.bulk_jobs] == ["completed", "completed"]
    assert leadmagic_sandbox.requests_to("/bulk/jobs/*/review") == []


def test_nothing_is_submitted_while_the_replaced_job_cannot_be_canceled(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, store: bool
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(store=store)
    kill_attempt(enrich, mocker, "while waiting")
    enrich.clear()
    leadmagic_sandbox.fail_next("/bulk/jobs/*/review", status=403)

    with pytest.raises(LeadMagicPermissionError):
        enrich.retry()

    assert len(leadmagic_sandbox.requests_to("/bulk/submit")) == 1


@pytest.mark.usefixtures("sleeps")
@pytest.mark.parametrize("refusal", [{"status": status} for status in (400, 402, 409, 422, 500)] + [{"body": "odd"}])
@pytest.mark.parametrize("attempt", [1, 2])
def test_an_accepted_job_is_joined_although_its_repeated_submission_is_refused(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, refusal: dict[str, Any], attempt: int
) -> None:
    enrich = task(on_insufficient="fail")
    if attempt == 2:
        kill_attempt(enrich, mocker, "before the submission")
    leadmagic_sandbox.fail_next("/bulk/submit", lose_response=True)
    leadmagic_sandbox.fail_next("/bulk/submit", times=None, **refusal)

    xcom = enrich.run() if attempt == 1 else enrich.retry()

    [job] = leadmagic_sandbox.bulk_jobs
    assert xcom["job_id"] == job.job_id
    assert leadmagic_sandbox.charges_per_row(job.job_id) == Counter(range(5))


#: Two ways in which the first two searches miss a job that was accepted a moment ago.
LATE_LISTS: dict[str, dict[str, Any]] = {
    "late": {"body": '{"jobs": [], "limit": 200}', "times": 2},
    "down": {"status": 503, "times": 8},
}


@pytest.mark.parametrize("late", LATE_LISTS)
@pytest.mark.parametrize("refusal", [400, 402, 409, 422])
@pytest.mark.parametrize("on_insufficient", ["wait", "fail"])
def test_an_accepted_job_is_joined_although_it_is_listed_late_and_has_spent_all_credits(
    task: MakeTask, leadmagic_sandbox: Sandbox, sleeps: list[float], refusal: int, late: str, on_insufficient: str
) -> None:
    leadmagic_sandbox.set_credits(5)
    leadmagic_sandbox.fail_next("/bulk/submit", lose_response=True)
    leadmagic_sandbox.fail_next("/bulk/submit", status=refusal)
    leadmagic_sandbox.fail_next("/bulk/jobs", **LATE_LISTS[late])

    xcom = task(on_insufficient=on_insufficient, timeout=5).run()

    [job] = leadmagic_sandbox.bulk_jobs
    assert xcom["job_id"] == job.job_id
    assert [pause for pause in sleeps if pause in (0, 1, 2, 4)] == [0, 1, 2]


@pytest.mark.usefixtures("sleeps")
@pytest.mark.parametrize("on_insufficient", ["wait", "fail"])
def test_a_retry_joins_a_job_that_is_listed_late_and_has_spent_all_credits(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, on_insufficient: str
) -> None:
    leadmagic_sandbox.set_credits(5)
    enrich = task(store=False, on_insufficient=on_insufficient, timeout=5)
    kill_attempt(enrich, mocker, "after the submission")
    leadmagic_sandbox.fail_next("/bulk/jobs", **LATE_LISTS["late"])

    assert enrich.retry()["job_id"] == leadmagic_sandbox.bulk_jobs[0].job_id


@pytest.mark.usefixtures("sleeps")
def test_a_job_that_is_listed_while_the_task_waits_for_credits_is_joined(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool
) -> None:
    leadmagic_sandbox.set_credits(5)
    leadmagic_sandbox.fail_next("/bulk/submit", lose_response=True)
    leadmagic_sandbox.fail_next("/bulk/submit", status=402)
    leadmagic_sandbox.fail_next("/bulk/jobs", body='{"jobs": [], "limit": 200}', times=4)
    when(lambda: len(leadmagic_sandbox.requests_to("/v1/credits")) >= 2, lambda: leadmagic_sandbox.set_credits(5))

    xcom = task(deferrable=deferrable).run()

    [job] = leadmagic_sandbox.bulk_jobs
    assert xcom["job_id"] == job.job_id
    assert len(leadmagic_sandbox.requests_to("/bulk/submit")) == 2


@pytest.mark.usefixtures("sleeps")
def test_a_job_whose_responses_are_all_lost_is_joined_within_the_attempt(
    task: MakeTask, leadmagic_sandbox: Sandbox, logged: Callable[[], str]
) -> None:
    leadmagic_sandbox.fail_next("/bulk/submit", lose_response=True, times=4)

    xcom = task().run()

    [job] = leadmagic_sandbox.bulk_jobs
    assert xcom["job_id"] == job.job_id
    assert f"Bulk job {job.job_id} was accepted although the submission failed: " in logged()


@pytest.mark.parametrize("list_fails", [False, True])
def test_a_refused_submission_fails_with_its_own_error(
    task: MakeTask, leadmagic_sandbox: Sandbox, list_fails: bool
) -> None:
    leadmagic_sandbox.fail_next("/bulk/submit", status=422)
    if list_fails:
        leadmagic_sandbox.fail_next("/bulk/jobs", status=403)

    with pytest.raises(LeadMagicRequestError, match="422"):
        task().run()

    assert len(leadmagic_sandbox.requests_to("/bulk/jobs")) == 1


@pytest.mark.usefixtures("sleeps")
def test_a_permanent_error_of_the_list_ends_the_search(task: MakeTask, leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.fail_next("/bulk/submit", lose_response=True, times=4)
    leadmagic_sandbox.fail_next("/bulk/jobs", status=403, times=None)

    with pytest.raises(LeadMagicConnectionError):
        task().run()

    assert len(leadmagic_sandbox.requests_to("/bulk/jobs")) == 1


@pytest.mark.parametrize("rows", [5, 4], ids=["the same rows", "other rows"])
def test_a_job_that_a_user_canceled_between_two_attempts_fails_the_task(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, store: bool, rows: int
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(store=store)
    kill_attempt(enrich, mocker, "while waiting")
    cancel(leadmagic_sandbox)
    enrich.operator.rows = leads(rows)

    with pytest.raises(AirflowFailException, match=r"canceled at LeadMagic.* Clearing the task submits a new job"):
        enrich.retry()

    assert len(leadmagic_sandbox.requests_to("/bulk/submit")) == 1


def test_a_clear_after_a_user_canceled_the_job_submits_a_new_one(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, store: bool
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(store=store)
    kill_attempt(enrich, mocker, "while waiting")
    cancel(leadmagic_sandbox)
    leadmagic_sandbox.bulk_speed()
    enrich.clear()

    enrich.retry()

    assert [job.status for job in leadmagic_sandbox.bulk_jobs] == ["canceled", "completed"]


def test_if_the_job_of_a_deleted_run_was_canceled_a_run_with_the_same_id_fails_until_it_is_cleared(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    deleted, created_again = task(), task()
    kill_attempt(deleted, mocker, "while waiting")
    cancel(leadmagic_sandbox)
    leadmagic_sandbox.bulk_speed()

    with pytest.raises(AirflowFailException, match=r"canceled at LeadMagic.* Clearing the task submits a new job"):
        created_again.run()
    created_again.clear()

    assert created_again.retry()["credits_consumed"] == 5


def test_of_two_jobs_with_one_file_name_the_one_that_was_not_canceled_is_joined(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture
) -> None:
    """The task finds its jobs by their file names. Two can have the same if LeadMagic forgets idempotency keys."""
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(store=False)
    kill_attempt(enrich, mocker, "while waiting")
    with LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url) as client:
        [named] = client.bulk.list()
        second = client.bulk.submit("email_finder", leads(5), idempotency_key="any", file_name=named.file_name)
    cancel(leadmagic_sandbox)
    leadmagic_sandbox.bulk_speed()

    assert enrich.retry()["job_id"] == named.job_id != second.job_id


def cancel(sandbox: Sandbox) -> None:
    with LeadMagicClient(sandbox.api_key, sandbox.url) as client:
        client.bulk.cancel(sandbox.bulk_jobs[-1].job_id)


@pytest.mark.parametrize("is_paused", [True, False], ids=["paused", "running"])
def test_a_job_of_other_rows_is_neither_joined_nor_resumed(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, store: bool, is_paused: bool
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(store=store)
    kill_attempt(enrich, mocker, "while waiting")
    if is_paused:
        leadmagic_sandbox.set_credits(2)
        leadmagic_sandbox.advance_bulk(5)
        leadmagic_sandbox.set_credits(100)
    enrich.operator.rows = leads(4)

    with pytest.raises(LeadMagicResponseError, match=r"^Input changed since it was submitted: .* \[rows\]$"):
        enrich.retry()

    [job] = leadmagic_sandbox.bulk_jobs
    assert job.status == ("paused" if is_paused else "uploaded")
    assert leadmagic_sandbox.requests_to("/bulk/jobs/*/resume") == []


def test_rows_that_change_while_the_job_is_paused_are_noticed_before_it_is_resumed(
    task: MakeTask, leadmagic_sandbox: Sandbox, tmp_path: Path, when: When, deferrable: bool
) -> None:
    leads_file = tmp_path / "leads.csv"
    leads_file.write_text("email\n" + "ada@example.com\n" * 5)
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(product="email_validation", input_path=str(leads_file), deferrable=deferrable)

    def pause() -> None:
        with leads_file.open("a") as file:
            file.write("grace@example.com\n")
        leadmagic_sandbox.set_credits("0.5")
        leadmagic_sandbox.advance_bulk(5)
        leadmagic_sandbox.set_credits(100)

    when(lambda: len(leadmagic_sandbox.requests_to("/bulk/jobs/*")) >= 2, pause)

    with pytest.raises(LeadMagicResponseError, match=r"^Input changed since it was submitted: "):
        enrich.run()

    assert leadmagic_sandbox.requests_to("/bulk/jobs/*/resume") == []
    assert leadmagic_sandbox.bulk_jobs[0].processed == 2


@pytest.fixture
def other_account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Sandbox]]:
    """Return a function that points the connection to another account."""
    with Sandbox(api_key="another-key") as sandbox:

        def change() -> Sandbox:
            monkeypatch.setenv("AIRFLOW_CONN_LEADMAGIC_DEFAULT", sandbox.connection_json)
            return sandbox

        yield change


def test_a_retry_with_another_account_submits_nothing(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, other_account: Callable[[], Sandbox]
) -> None:
    enrich = task(store=True)
    kill_attempt(enrich, mocker, "while waiting")
    other = other_account()

    message = r"^Connection 'leadmagic_default' was changed to another LeadMagic account: .* Nothing was submitted in "
    with pytest.raises(LeadMagicConfigurationError, match=message) as raised:
        enrich.retry()

    assert leadmagic_sandbox.bulk_jobs[0].job_id in str(raised.value)
    assert other.requests_to("/bulk/submit") == []


@pytest.mark.parametrize(
    ("changed", "is_same"),
    [({}, True), ({"api_key": "another-key"}, False), ({"base_url": "http://127.0.0.1:2"}, False)],
    ids=str,
)
def test_an_account_is_identified_by_url_and_key(changed: dict[str, str], is_same: bool) -> None:
    arguments = {"api_key": "a-key", "base_url": "http://127.0.0.1:1"}
    with LeadMagicClient(**arguments) as client, LeadMagicClient(**arguments | changed) as other:
        job = SubmittedJob("job-1", "airflow-task-one", None).in_account_of(client)

        assert job.is_in_account_of(other) == is_same


def test_a_retry_continues_when_the_connection_is_changed_back(
    task: MakeTask,
    leadmagic_sandbox: Sandbox,
    mocker: MockerFixture,
    other_account: Callable[[], Sandbox],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    enrich = task(store=True)
    kill_attempt(enrich, mocker, "while waiting")
    other_account()
    with pytest.raises(LeadMagicConfigurationError):
        enrich.retry()
    monkeypatch.setenv("AIRFLOW_CONN_LEADMAGIC_DEFAULT", leadmagic_sandbox.connection_json)

    assert enrich.retry()["job_id"] == leadmagic_sandbox.bulk_jobs[0].job_id


def test_a_new_key_of_the_same_account_joins_the_job(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, store: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrich = task(store=store)
    kill_attempt(enrich, mocker, "while waiting")
    rotate_key(leadmagic_sandbox, monkeypatch)

    xcom = enrich.retry()

    [job] = leadmagic_sandbox.bulk_jobs
    assert xcom["job_id"] == job.job_id


def rotate_key(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox._state.account, "api_key", "new-key")  # as at LeadMagic: a new key, and the same jobs
    monkeypatch.setenv("AIRFLOW_CONN_LEADMAGIC_DEFAULT", sandbox.connection_json)


def test_a_clear_after_the_account_was_changed_names_the_job_that_may_still_run(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, other_account: Callable[[], Sandbox], logged: Any
) -> None:
    enrich = task(store=True)
    kill_attempt(enrich, mocker, "while waiting")
    other = other_account()
    enrich.clear()

    enrich.retry()

    [job] = leadmagic_sandbox.bulk_jobs
    assert len(other.bulk_jobs) == 1
    assert (
        f"URL or API key of connection 'leadmagic_default' changed after bulk job {job.job_id} was submitted. "
        in logged()
    )


def test_a_waiting_task_refuses_another_account_and_is_not_retried_without_a_state_store(
    task: MakeTask,
    leadmagic_sandbox: Sandbox,
    other_account: Callable[[], Sandbox],
    when: When,
    store: bool,
    deferrable: bool,
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(store=store, deferrable=deferrable)
    when(lambda: len(leadmagic_sandbox.requests_to("/bulk/jobs/*")) >= 2, other_account)

    error = LeadMagicConfigurationError if store else AirflowFailException
    advice = "change it back to continue" if store else "download the results of"
    with pytest.raises(error, match=f"was changed to another LeadMagic account: {advice} bulk job"):
        enrich.run()


def test_the_error_names_a_deleted_connection_rather_than_another_account(
    task: MakeTask,
    leadmagic_sandbox: Sandbox,
    other_account: Callable[[], Sandbox],
    when: When,
    store: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(store=store, deferrable=True)
    others: list[Sandbox] = []

    def change_account() -> None:
        others.append(other_account())
        others[0].fail_next("/bulk/jobs/*", status=403, delay=1)  # it responds after the connection was deleted

    when(lambda: len(leadmagic_sandbox.requests_to("/bulk/jobs/*")) >= 2, change_account)
    when(
        lambda: bool(others and others[0].requests_to("/bulk/jobs/*")),
        lambda: monkeypatch.delenv("AIRFLOW_CONN_LEADMAGIC_DEFAULT"),
    )

    with pytest.raises((LeadMagicConfigurationError, AirflowFailException)) as raised:
        enrich.run()

    assert "leadmagic_default" in str(raised.value)
    assert "another LeadMagic account" not in str(raised.value)


def test_the_stored_job_reveals_no_key(task: MakeTask, leadmagic_sandbox: Sandbox) -> None:
    (one := task()).run()
    (other := task()).run()

    stored = [SubmittedJob.load(enrich.store) for enrich in (one, other)]
    assert all(job and leadmagic_sandbox.api_key not in str(job) for job in stored)
    assert len({job.account for job in stored if job}) == 2  # each has a salt of its own


def test_a_job_saved_by_an_older_version_is_joined(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture
) -> None:
    enrich = task(store=True)
    kill_attempt(enrich, mocker, "while waiting")
    assert enrich.store
    fields = enrich.store.get("leadmagic_bulk_job")
    enrich.store.set("leadmagic_bulk_job", {name: fields[name] for name in ("job_id", "idempotency_key", "estimate")})

    assert enrich.retry()["job_id"] == leadmagic_sandbox.bulk_jobs[0].job_id


TEMPORARY_RUNS = [
    "__airflow_temporary_run_2026-11-26T04:00:00+00:00__",
    "__airflow_temporary_run_2026-11-26T05:00:00__",
]


def test_airflow_tasks_test_run_twice_for_one_date_joins_its_first_job(
    task: MakeTask, leadmagic_sandbox: Sandbox, logged: Callable[[], str]
) -> None:
    for run_id in TEMPORARY_RUNS:
        tested = task(store=False)
        tested.ti.run_id = run_id
        tested.run()

    assert len(leadmagic_sandbox.bulk_jobs) == 1
    assert "This test run spends credits like a DAG run." in logged()


@pytest.mark.parametrize("has_date", [True, False])
def test_airflow_tasks_test_of_a_real_run_neither_joins_nor_cancels_its_job(
    task: MakeTask,
    leadmagic_sandbox: Sandbox,
    mocker: MockerFixture,
    monkeypatch: pytest.MonkeyPatch,
    store: bool,
    has_date: bool,
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(store=store)
    if not has_date:  # as in the runs that an asset starts
        enrich.logical_date = None
    kill_attempt(enrich, mocker, "while waiting")
    with monkeypatch.context() as in_command:
        in_command.setattr("sys.argv", ["airflow", "tasks", "test", "night", "enrich", "2026-11-26"])
        kill_attempt(enrich, mocker, "while waiting")

    assert [job.status for job in leadmagic_sandbox.bulk_jobs] == ["uploaded", "uploaded"]
    leadmagic_sandbox.bulk_speed()
    assert enrich.retry()["job_id"] == leadmagic_sandbox.bulk_jobs[0].job_id


@pytest.mark.parametrize("change", ["the date", "the rows"])
def test_airflow_tasks_test_of_another_date_or_of_other_rows_submits_a_new_job(
    task: MakeTask, leadmagic_sandbox: Sandbox, change: str
) -> None:
    for run_id, rows, day in zip(TEMPORARY_RUNS, (leads(5), leads(4)), (1, 2), strict=True):
        tested = task(store=False, rows=rows if change == "the rows" else leads(5))
        tested.ti.run_id = run_id
        tested.logical_date = datetime(2026, 1, day if change == "the date" else 1)
        tested.run()

    assert len(leadmagic_sandbox.bulk_jobs) == 2


def test_an_attempt_after_a_full_disk_charges_nothing_twice(
    task: MakeTask, leadmagic_sandbox: Sandbox, tmp_path: Path
) -> None:
    leadmagic_sandbox.set_credits(1000)
    (full := tmp_path / "full").mkdir()
    mounts = Mounts()
    enrich = task(rows=[{**lead, "note": "x" * 2000} for lead in leads(100)], output_path=full / "found.csv")
    problem = r"^Cannot write output_path: No space left on device\. The rows .+ have been paid for, and .+ free\. \["

    def attempt() -> None:
        mounts.tmpfs(full, "64k")
        with pytest.raises(ValueError, match=problem):
            enrich.run()
        assert list(full.iterdir()) == []

    mounts.run(attempt)
    result = enrich.retry()

    assert (result["succeeded"], len(leadmagic_sandbox.bulk_jobs)) == (100, 1)
    assert sorted(path.name for path in full.iterdir()) == ["found.csv", "found.errors.csv"]


def test_the_xcom_says_where_the_rows_are_if_a_file_cannot_be_replaced(
    task: MakeTask, mocker: MockerFixture, output: Path
) -> None:
    enrich, download = task(), Bulk.download

    def pin_output(*arguments: Any) -> int:
        output.mkdir()
        return download(*arguments)

    mocker.patch.object(Bulk, "download", autospec=True, side_effect=pin_output)
    result = enrich.run()

    assert result["output_path"] == str(output.with_name(f"enriched.{result['job_id']}.csv"))
    assert len(Path(result["output_path"]).read_text().splitlines()) == 6
    assert result["errors_path"] == str(output.with_name("enriched.errors.csv"))


def test_a_retry_delivers_although_the_output_can_no_longer_be_replaced(
    task: MakeTask, mocker: MockerFixture, output: Path, store: bool, logged: Callable[[], str]
) -> None:
    enrich = task(store=store)
    kill_attempt(enrich, mocker, "while waiting")
    output.mkdir()

    result = enrich.retry()

    assert result["output_path"] == str(output.with_name(f"enriched.{result['job_id']}.csv"))
    assert len(Path(result["output_path"]).read_text().splitlines()) == 6
    assert "Output may be written under another name: Cannot write output_path: is a directory." in logged()


def test_a_retry_does_not_overwrite_the_input(task: MakeTask, mocker: MockerFixture, tmp_path: Path) -> None:
    path = tmp_path / "leads.csv"
    path.write_text("full_name,domain\nAda Lovelace,example.com\n")
    enrich = task(input_path=path)
    kill_attempt(enrich, mocker, "while waiting")
    enrich.operator.output_path = str(path)

    with pytest.raises(ValueError, match=r"^output_path must not overwrite the input file"):
        enrich.retry()


def key_of(digest: str = "digest", dag_run: DagRun | None = None, **changes: Any) -> str:
    return idempotency_key(
        {"ti": TaskInstance(**changes), "dag_run": dag_run or DagRun(), "logical_date": LOGICAL_DATE}, digest
    )


OTHER_TASK: dict[str, dict[str, Any]] = {
    "another DAG": {"dag_id": "day"},
    "another task": {"task_id": "enrich_more"},
    "another run": {"run_id": "run2"},
    "another mapped task": {"map_index": 0},
    "names with the same concatenation": {"dag_id": "nig", "run_id": "htrun"},
}


def test_attempts_of_one_task_have_the_same_key() -> None:
    assert key_of(try_number=2) == key_of(digest="other rows") == key_of()


@pytest.mark.parametrize("change", OTHER_TASK)
def test_other_tasks_have_another_key(change: str) -> None:
    assert key_of(**OTHER_TASK[change]) != key_of()
    assert not is_of_same_task(job_name(key_of(**OTHER_TASK[change]), "digest"), key_of())


def test_after_a_clear_the_key_is_another_one_of_the_same_task() -> None:
    assert key_of(max_tries=3) != key_of()
    assert is_of_same_task(job_name(key_of(max_tries=3), "digest"), key_of())


@pytest.mark.parametrize("setting", ["LEADMAGIC__INSTANCE_NAME", BASE_URL, EXECUTION_URL])
def test_two_airflows_on_one_account_have_different_keys(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    keys = set()
    for value in ("https://staging.example.com", "https://production.example.com"):
        monkeypatch.setenv(f"AIRFLOW__{setting}", value)
        keys.add(key_of().rpartition("-")[0])
        assert key_of() == key_of(dag_run=LATER)

    assert len(keys) == 2


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        (BASE_URL, ""),
        (BASE_URL, "http://localhost:8080"),
        (BASE_URL, "localhost:8080"),
        (BASE_URL, "http://0.0.0.0:8080"),
        (BASE_URL, "http://[::1]:8080"),
        (BASE_URL, "http://[::1"),
        (EXECUTION_URL, "http://airflow-apiserver:8080/execution/"),
        (EXECUTION_URL, "http://airflow-api-server.airflow.svc.cluster.local:8080/execution/"),
        (EXECUTION_URL, "http://10.0.0.5:8080/execution/"),
    ],
)
def test_a_url_that_other_airflows_have_too_does_not_name_this_one(
    task: MakeTask,
    leadmagic_sandbox: Sandbox,
    mocker: MockerFixture,
    monkeypatch: pytest.MonkeyPatch,
    logged: Callable[[], str],
    setting: str,
    value: str,
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    monkeypatch.setenv(f"AIRFLOW__{setting}", value)
    production, staging = task(store=False), task(store=False, on_empty="skip", rows=[])
    kill_attempt(production, mocker, "while waiting")
    staging.dag_run = LATER
    staging.clear()

    with pytest.raises(AirflowSkipException):
        staging.retry()

    assert [job.status for job in leadmagic_sandbox.bulk_jobs] == ["uploaded"]
    assert "Set [leadmagic] instance_name: " in logged()


def test_an_airflow_without_a_name_joins_the_job_of_a_previous_attempt_only(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture
) -> None:
    enrich, other = task(store=False), task(store=False)
    other.dag_run = LATER
    kill_attempt(enrich, mocker, "while waiting")

    assert enrich.retry()["job_id"] != other.retry()["job_id"]
    assert len(leadmagic_sandbox.bulk_jobs) == 2


@pytest.mark.parametrize(
    "test", [{"run_id": TEMPORARY_RUNS[0]}, {"dag_run": DagRun(LOGICAL_DATE)}], ids=["of a task", "of a DAG"]
)
def test_tests_on_two_machines_have_different_keys(mocker: MockerFixture, test: dict[str, Any]) -> None:
    before = key_of(**test)
    mocker.patch("airflow_provider_leadmagic.compat.task_state.gethostname", return_value="another machine")

    assert key_of(**test) != before


def test_an_airflow_with_a_name_is_not_told_to_set_it(
    task: MakeTask, leadmagic_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, logged: Callable[[], str]
) -> None:
    monkeypatch.setenv("AIRFLOW__LEADMAGIC__INSTANCE_NAME", "production")

    task().run()

    assert "instance_name" not in logged()


def test_the_instance_name_replaces_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__LEADMAGIC__INSTANCE_NAME", "production")
    before = key_of()
    monkeypatch.setenv(f"AIRFLOW__{BASE_URL}", "https://moved.example.com")

    assert key_of() == before


def test_with_a_state_store_the_job_is_joined_although_the_instance_name_was_changed(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrich = task(store=True)
    kill_attempt(enrich, mocker, "while waiting")
    monkeypatch.setenv("AIRFLOW__LEADMAGIC__INSTANCE_NAME", "production")

    enrich.retry()

    assert len(leadmagic_sandbox.bulk_jobs) == 1


def test_the_key_does_not_reveal_dag_names() -> None:
    assert re.fullmatch(r"airflow-[0-9a-f]{24}-[0-9a-f]{15}", key_of(dag_id="secret_project"))


def test_without_a_state_store_nothing_is_said_about_storing(task, logged):
    task(store=False).run()
    assert "Could not store" not in logged()


def test_a_job_that_cannot_be_stored_is_delivered(task, mocker, written, logged):
    enrich = task(store=True)
    mocker.patch.object(type(enrich.store), "set", side_effect=RuntimeError("503"))
    assert enrich.run()["succeeded"] == len(written()) == 5
    assert "Could not store the ID of bulk job " in logged()


@pytest.mark.parametrize("attempt", [1, 2])
def test_finished_jobs_of_a_deleted_run_do_not_stop_a_run_with_the_same_id_that_waits_for_credits(
    task, leadmagic_sandbox, when, store, deferrable, attempt
):
    old, enrich = task(store=store), task(store=store, deferrable=deferrable)
    old.clear(retries=7)
    old.run()
    enrich.ti.try_number = attempt
    leadmagic_sandbox.set_credits(0)
    when(lambda: len(leadmagic_sandbox.requests_to("/v1/credits")) >= 4, lambda: leadmagic_sandbox.set_credits(5))

    assert enrich.run()["credits_consumed"] == 5
    assert [job.status for job in leadmagic_sandbox.bulk_jobs] == ["completed", "completed"]


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "completed"])
def test_a_suspended_attempt_neither_submits_nor_cancels_once_another_attempt_has_replaced_it(
    task, leadmagic_sandbox, mocker, store, deferrable, is_running
):
    leadmagic_sandbox.bulk_speed(paused_clock=is_running)
    leadmagic_sandbox.set_credits(0)
    suspended, second = task(store=store, deferrable=deferrable), task(store=store)
    second.store = suspended.store
    wait_type = TriggererWait if deferrable else WorkerWait
    to_submit = wait_type.to_submit

    def clear_meanwhile(*arguments: object) -> None:
        leadmagic_sandbox.set_credits(100)
        mocker.stop(wait)
        second.clear()
        second.ti.try_number += 1
        kill_attempt(second, mocker, "while waiting")
        to_submit(*arguments)

    wait = mocker.patch.object(wait_type, "to_submit", autospec=True, side_effect=clear_meanwhile)
    with pytest.raises(LeadMagicError, match=r"^Not submitted: the task was cleared, and its next attempt has"):
        suspended.run()

    assert [job.status for job in leadmagic_sandbox.bulk_jobs] == ["uploaded" if is_running else "completed"]
    assert len(leadmagic_sandbox.requests_to("/bulk/submit")) == 1


@pytest.mark.parametrize(
    ("arguments", "rows", "error"),
    [
        pytest.param({"on_empty": "skip"}, [], AirflowSkipException, id="no rows"),
        pytest.param({}, [{"x": 1}], ValueError, id="an invalid row"),
    ],
)
def test_a_clear_cancels_the_old_job_even_if_nothing_is_submitted_in_its_place(
    task, leadmagic_sandbox, mocker, store, arguments, rows, error
):
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(store=store, **arguments)
    kill_attempt(enrich, mocker, "while waiting")
    enrich.clear()
    enrich.operator.rows = rows
    with pytest.raises(error):
        enrich.retry()
    assert [job.status for job in leadmagic_sandbox.bulk_jobs] == ["canceled"]


def test_a_clear_cancels_the_stored_job_even_if_the_list_does_not_show_it(task, leadmagic_sandbox, mocker):
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(store=True)
    kill_attempt(enrich, mocker, "while waiting")
    enrich.clear()
    enrich.ti.try_number += 1
    mocker.patch.object(Bulk, "list", return_value=iter([]))
    kill_attempt(enrich, mocker, "while waiting")
    assert sorted(job.status for job in leadmagic_sandbox.bulk_jobs) == ["canceled", "uploaded"]


def test_a_retry_without_rows_is_not_skipped_while_the_state_store_has_a_job(task, leadmagic_sandbox, mocker):
    enrich = task(store=True, on_empty="skip")
    kill_attempt(enrich, mocker, "while waiting")
    enrich.operator.rows = []
    mocker.patch.object(Bulk, "list", return_value=iter([]))
    with pytest.raises(ValueError, match=r"^No rows to enrich"):
        enrich.retry()
