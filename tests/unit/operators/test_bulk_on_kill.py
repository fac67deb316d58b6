"""A user who ends a task cancels its job; a worker or triggerer that is stopped leaves the job running."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.triggers.base import BaseTrigger

from airflow_provider_leadmagic.api.bulk import Bulk
from airflow_provider_leadmagic.api.jobs import BulkJob
from airflow_provider_leadmagic.bulk import cancel
from airflow_provider_leadmagic.bulk.cancel import ON_KILL_PATIENCE, RunningTask
from airflow_provider_leadmagic.bulk.previous_attempts import SubmittedJob
from airflow_provider_leadmagic.bulk.progress import JobProgress
from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.compat.imports import AirflowFailException, AirflowNotFoundException
from airflow_provider_leadmagic.exceptions import LeadMagicError
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from airflow_provider_leadmagic.operators._bulk_waiting import WorkerWait
from airflow_provider_leadmagic.triggers import bulk as bulk_triggers
from airflow_provider_leadmagic.triggers.bulk import BulkJobTrigger, PausedBulkJobTrigger
from dev.local_airflow import wait_until
from tests.support.airflow_home import REPOSITORY
from tests.support.bulk_task_runner import Killed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_mock import MockerFixture

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from tests.support.bulk_task_runner import Task
    from tests.unit.operators.conftest import MakeTask

ENDED_BY_A_USER = ["failed", "success", "skipped", "removed", "upstream_failed"]
#: States in which no user has ended the task: its worker was stopped, Airflow considers it lost, or it was cleared
#: while it was running. The next attempt joins the job.
NOT_ENDED = ["running", "restarting", "up_for_retry", "scheduled", "queued", "deferred", None]
NEVER = 3600.0
TASK_INSTANCE: Any = SimpleNamespace(task_id="enrich")


def statuses(sandbox: Sandbox) -> list[str]:
    return [job.status for job in sandbox.bulk_jobs]


@pytest.fixture
def task_state(mocker: MockerFixture) -> Callable[[Any], None]:
    """Return a function that sets the task state that Airflow reports. The end-to-end tests use the real one."""

    def set_state(state: Any) -> None:
        result = {"side_effect": state} if isinstance(state, Exception) else {"return_value": state}
        for function in ("state_of", "astate_of"):
            mocker.patch(f"airflow_provider_leadmagic.compat.task_state.{function}", **result)

    return set_state


def stop_while_waiting(task: MakeTask, mocker: MockerFixture) -> None:
    """Run a task until it waits on the worker, then call ``on_kill`` as Airflow does from its signal handler."""
    operator = (waiting := task(deferrable=False)).operator

    def stopped(*_: Any) -> None:
        on_kill()
        raise Killed

    mocker.patch.object(JobProgress, "poll", side_effect=stopped)
    mocker.patch("tests.support.bulk_task_runner.in_new_process", side_effect=lambda it: it)
    on_kill = operator.on_kill
    with pytest.raises(Killed):
        waiting.run()


@pytest.mark.parametrize("state", ENDED_BY_A_USER)
def test_ending_a_running_task_cancels_its_job(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, task_state: Callable[[Any], None], state: Any
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    task_state(state)

    stop_while_waiting(task, mocker)

    assert statuses(leadmagic_sandbox) == ["canceled"]


@pytest.mark.parametrize("state", NOT_ENDED)
def test_stopping_a_worker_leaves_the_job_running(
    task: MakeTask,
    leadmagic_sandbox: Sandbox,
    mocker: MockerFixture,
    task_state: Callable[[Any], None],
    state: Any,
    logged: Callable[[], str],
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    task_state(state)

    stop_while_waiting(task, mocker)

    assert leadmagic_sandbox.requests_to("/bulk/jobs/*/review") == []
    assert "leaving any bulk job running." in logged()


def test_a_task_without_a_job_cancels_nothing(
    task: MakeTask, leadmagic_sandbox: Sandbox, task_state: Callable[[Any], None]
) -> None:
    task_state("failed")

    task().operator.on_kill()

    assert leadmagic_sandbox.requests == []


def test_a_signal_during_a_request_to_airflow_still_cancels_the_job(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, job_id: str
) -> None:
    request_to_airflow = threading.Lock()

    def request_state(_: Any) -> str:
        with request_to_airflow:
            return "failed"

    mocker.patch("airflow_provider_leadmagic.compat.task_state.state_of", side_effect=request_state)
    mocker.patch("airflow_provider_leadmagic.bulk.cancel.ON_KILL_PATIENCE", 0.02)
    operator = task().operator
    operator._canceller.remember_job(running(operator), job_id)

    with request_to_airflow:
        operator.on_kill()
        assert statuses(leadmagic_sandbox) == ["uploaded"]

    wait_until(lambda: statuses(leadmagic_sandbox) == ["canceled"], 5, "the job to be canceled")


def kill_while(
    calling: str, happens: str, enrich: Task, mocker: MockerFixture, then: type[BaseException] | None = None
) -> None:
    """Call ``on_kill`` during a request, ``before`` or ``after`` LeadMagic receives it, and then maybe raise."""
    call = getattr(Bulk, calling)
    mocker.patch("tests.support.bulk_task_runner.in_new_process", side_effect=lambda it: it)

    def killed(*arguments: Any, **keywords: Any) -> Any:
        result = call(*arguments, **keywords) if happens == "after" else None
        enrich.operator.on_kill()
        if then:
            raise then
        return result if happens == "after" else call(*arguments, **keywords)

    mocker.patch.object(Bulk, calling, autospec=True, side_effect=killed)
    with pytest.raises((LeadMagicError, AirflowFailException, Killed)):
        enrich.run()


def test_a_task_that_is_ended_before_submitting_submits_nothing(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, task_state: Callable[[Any], None]
) -> None:
    task_state("failed")

    kill_while("preview", "before", task(), mocker)  # Airflow 3 lets it run for five more seconds

    assert leadmagic_sandbox.bulk_jobs == []


@pytest.mark.parametrize("then", [None, Killed], ids=["continues", "dies"])
@pytest.mark.parametrize(("state", "job_status"), [("failed", "canceled"), ("running", "uploaded")])
def test_a_task_that_is_ended_while_submitting_cancels_the_job(
    task: MakeTask,
    leadmagic_sandbox: Sandbox,
    mocker: MockerFixture,
    task_state: Callable[[Any], None],
    then: type[BaseException] | None,
    state: str,
    job_status: str,
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    task_state(state)

    kill_while("submit", "after", task(timeout=0.1), mocker, then)

    assert statuses(leadmagic_sandbox) == [job_status]


def test_only_a_job_of_the_task_is_canceled(
    task: MakeTask, leadmagic_sandbox: Sandbox, task_state: Callable[[Any], None]
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    task_state("failed")
    with LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url) as client:
        for key in ("airflow-this-one", "airflow-other-one"):
            rows = [{"full_name": "Ada Lovelace", "domain": "example.com"}]
            client.bulk.submit("email_finder", rows, idempotency_key=key, file_name=f"{key}.digest")

    stop_job(task, key="airflow-this-two")  # the key after a clear

    assert statuses(leadmagic_sandbox) == ["canceled", "uploaded"]


def test_a_task_that_is_ended_before_the_request_is_sent_cancels_the_resulting_job(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, task_state: Callable[[Any], None]
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    task_state("failed")

    mocker.patch.object(cancel, "ON_KILL_PATIENCE", 0.4)  # on_kill finds no job in LeadMagic's list in that time

    kill_while("submit", "before", task(), mocker)

    wait_until(lambda: statuses(leadmagic_sandbox) == ["canceled"], 5, "the job to be canceled")


@pytest.fixture
def short_pauses(mocker: MockerFixture) -> None:
    """Shorten the requests and the pauses with which canceling is retried."""
    mocker.patch.object(cancel, "REQUEST_TIMEOUT", 0.1)
    mocker.patch.object(cancel, "PAUSE", 0.05)
    mocker.patch.object(bulk_triggers, "CANCEL_TIMEOUT", 0.1)
    mocker.patch.object(bulk_triggers, "CANCEL_PAUSE", 0.05)


@pytest.fixture
def short_patience(mocker: MockerFixture, short_pauses: None) -> None:
    """Shorten the time in which canceling is retried, for tests in which it never succeeds."""
    mocker.patch.object(cancel, "ON_KILL_PATIENCE", 0.4)
    mocker.patch.object(bulk_triggers, "CANCEL_PATIENCE", 0.4)


def test_on_kill_ends_before_airflow_3_kills_the_process() -> None:
    assert ON_KILL_PATIENCE + cancel.PAUSE < 5


def test_the_docs_say_for_how_long_canceling_is_tried() -> None:
    text = (REPOSITORY / "docs" / "spending-safely.md").read_text()
    assert "tries to cancel the job for four seconds, and a triggerer for twenty." in " ".join(text.split())
    assert (cancel.ON_KILL_PATIENCE, bulk_triggers.CANCEL_PATIENCE) == (4, 20)


def command(job_id: str) -> str:
    return f'LeadMagicHook("leadmagic_default").bulk.cancel("{job_id}")'


def fail_to_read(*_: Any) -> Any:
    raise RuntimeError("the vault is sealed, token=secret")


def hanging(release: threading.Event) -> Callable[..., Any]:
    def hang(*_: Any) -> Any:
        release.wait(20)
        raise RuntimeError

    return hang


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Return an event that ends the calls that hang; it is set at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


FAILURES = [
    "LeadMagic is down",
    "LeadMagic hangs",
    "LeadMagic rejects the key",
    "the secrets backend fails",
    "the secrets backend hangs",
]


@pytest.fixture(params=FAILURES)
def failure(
    request: pytest.FixtureRequest, leadmagic_sandbox: Sandbox, mocker: MockerFixture, release: threading.Event
) -> Callable[[], None]:
    """Return a function that makes canceling fail."""

    def fail() -> None:
        match request.param:
            case "LeadMagic is down":
                leadmagic_sandbox.fail_next("*", status=503, times=None)
            case "LeadMagic hangs":
                leadmagic_sandbox.fail_next("*", delay=1, times=None)
            case "LeadMagic rejects the key":
                leadmagic_sandbox.fail_next("*", status=401, times=None)
            case "the secrets backend fails":
                mocker.patch.object(LeadMagicHook, "get_connection", side_effect=fail_to_read)
                mocker.patch(
                    "airflow_provider_leadmagic.hooks.leadmagic.get_async_connection", side_effect=fail_to_read
                )
            case "the secrets backend hangs":
                hang = hanging(release)
                mocker.patch.object(LeadMagicHook, "get_connection", side_effect=hang)

                async def ahang(*_: Any) -> None:
                    while not release.is_set():
                        await asyncio.sleep(0.01)

                mocker.patch("airflow_provider_leadmagic.hooks.leadmagic.get_async_connection", side_effect=ahang)

    return fail


def stop_job(task: MakeTask, job_id: str | None = None, key: str = "airflow-task-one") -> None:
    """Call ``on_kill`` of an operator that has a job, or is submitting one."""
    operator = task().operator
    operator._canceller.remember_key(running(operator), key)
    if job_id:
        operator._canceller.remember_job(running(operator), job_id)
    operator.on_kill()


@pytest.mark.usefixtures("short_patience")
def test_a_worker_that_cannot_cancel_the_job_logs_one_line_with_the_command(
    task: MakeTask,
    failure: Callable[[], None],
    task_state: Callable[[Any], None],
    job_id: str,
    logged: Callable[[], str],
    release: threading.Event,
) -> None:
    task_state("failed")
    failure()

    stop_job(task, job_id)

    release.set()
    for thread in threading.enumerate():
        if thread.name == "leadmagic-on-kill":
            thread.join(20)
    log = logged()
    lines = [line for line in log.splitlines() if command(job_id) in line]
    assert len(lines) == 1
    assert "Bulk job possibly not canceled: run " in lines[0]
    assert "secret" not in log


@pytest.mark.usefixtures("short_patience")
def test_a_trigger_that_cannot_cancel_the_job_logs_one_line_with_the_command(
    trigger: BulkJobTrigger | PausedBulkJobTrigger,
    failure: Callable[[], None],
    task_state: Callable[[Any], None],
    logged: Callable[[], str],
    release: threading.Event,
) -> None:
    task_state("failed")
    failure()
    trigger.task_instance = TASK_INSTANCE

    async def kill() -> None:
        await trigger.on_kill()
        release.set()

    asyncio.run(kill())

    log = logged()
    lines = [line for line in log.splitlines() if command(trigger.job_id) in line]
    assert len(lines) == 1
    assert "Bulk job possibly not canceled: run " in lines[0]
    assert "secret" not in log


@pytest.mark.usefixtures("short_patience")
def test_a_triggerer_that_stops_while_it_cancels_the_job_logs_the_command(
    trigger: BulkJobTrigger | PausedBulkJobTrigger,
    leadmagic_sandbox: Sandbox,
    task_state: Callable[[Any], None],
    logged: Callable[[], str],
) -> None:
    task_state("failed")
    leadmagic_sandbox.fail_next("*", status=503, times=None)
    trigger.task_instance = TASK_INSTANCE

    async def stop_triggerer() -> None:
        killing = asyncio.create_task(trigger.on_kill())
        while not leadmagic_sandbox.requests_to("/bulk/jobs/*/review"):
            await asyncio.sleep(0.01)
        killing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await killing

    asyncio.run(stop_triggerer())

    assert command(trigger.job_id) in logged()


@pytest.mark.usefixtures("short_patience")
@pytest.mark.parametrize("end", ["worker", "triggerer"])
def test_an_unknown_task_state_is_logged_with_the_command(
    task: MakeTask,
    trigger: BulkJobTrigger | PausedBulkJobTrigger,
    task_state: Callable[[Any], None],
    logged: Callable[[], str],
    leadmagic_sandbox: Sandbox,
    end: str,
) -> None:
    task_state(RuntimeError("the database is down"))

    end_task(end, task, trigger)

    assert f"if a user ended the task, run {command(trigger.job_id)} to stop it." in logged()
    assert leadmagic_sandbox.requests_to("/bulk/jobs/*/review") == []


@pytest.mark.usefixtures("short_patience")
@pytest.mark.parametrize("listed", ["unreadable", "not yet"])
def test_a_job_whose_id_is_not_known_is_named_by_its_key(
    task: MakeTask,
    leadmagic_sandbox: Sandbox,
    task_state: Callable[[Any], None],
    logged: Callable[[], str],
    listed: str,
) -> None:
    task_state("failed")
    if listed == "unreadable":
        leadmagic_sandbox.fail_next("/bulk/jobs", status=503, times=None)

    stop_job(task)

    assert re.search(r"for the job in .* whose file_name starts with airflow-task\. Reason: ", logged())


@pytest.mark.usefixtures("short_pauses")
def test_a_job_that_is_listed_late_is_canceled(
    task: MakeTask, leadmagic_sandbox: Sandbox, task_state: Callable[[Any], None], logged: Callable[[], str]
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    task_state("failed")
    with LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url) as client:
        rows = [{"full_name": "Ada Lovelace", "domain": "example.com"}]
        client.bulk.submit("email_finder", rows, idempotency_key="any", file_name="airflow-task-one.digest")
    leadmagic_sandbox.fail_next("/bulk/jobs", body='{"jobs": [], "limit": 200}', times=2)

    stop_job(task)

    assert statuses(leadmagic_sandbox) == ["canceled"]
    assert "Bulk job possibly not canceled" not in logged()


@pytest.mark.usefixtures("short_patience")
def test_a_job_that_is_listed_after_its_task_was_cleared_keeps_running(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    mocker.patch("airflow_provider_leadmagic.compat.task_state.state_of", side_effect=["failed", None])
    with LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url) as client:
        rows = [{"full_name": "Ada Lovelace", "domain": "example.com"}]
        client.bulk.submit("email_finder", rows, idempotency_key="any", file_name="airflow-task-one.digest")
    leadmagic_sandbox.fail_next("/bulk/jobs", body='{"jobs": [], "limit": 200}')

    stop_job(task)

    assert statuses(leadmagic_sandbox) == ["uploaded"]


def end_task(where: str, task: MakeTask, trigger: BulkJobTrigger | PausedBulkJobTrigger) -> None:
    """Call ``on_kill`` where the task waits: on a worker, or in the triggerer."""
    if where == "worker":
        stop_job(task, trigger.job_id)
    else:
        trigger.task_instance = TASK_INSTANCE
        asyncio.run(trigger.on_kill())


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("end", ["worker", "triggerer"])
@pytest.mark.parametrize("fault", [{"status": 503}, {"drop": True}, {"delay": 0.3}], ids=str)
def test_canceling_is_retried(
    task: MakeTask,
    trigger: BulkJobTrigger | PausedBulkJobTrigger,
    leadmagic_sandbox: Sandbox,
    task_state: Callable[[Any], None],
    fault: dict[str, Any],
    end: str,
    logged: Callable[[], str],
) -> None:
    task_state("failed")
    leadmagic_sandbox.fail_next("/bulk/jobs/*/review", **fault)

    end_task(end, task, trigger)

    assert statuses(leadmagic_sandbox) == ["canceled"]
    assert command(trigger.job_id) not in logged()


def test_a_triggerer_pauses_between_two_attempts_to_cancel_and_starts_none_after_its_patience(
    trigger: BulkJobTrigger | PausedBulkJobTrigger,
    leadmagic_sandbox: Sandbox,
    task_state: Callable[[Any], None],
    mocker: MockerFixture,
) -> None:
    mocker.patch.object(bulk_triggers, "CANCEL_PATIENCE", 3.0)
    mocker.patch.object(bulk_triggers, "CANCEL_PAUSE", 1.5)
    leadmagic_sandbox.fail_next("/bulk/jobs/*/review", status=503, times=None)
    trigger.task_instance = TASK_INSTANCE
    task_state("failed")

    asyncio.run(trigger.on_kill())

    assert len(leadmagic_sandbox.requests_to("/bulk/jobs/*/review")) == 2


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("end", ["worker", "triggerer"])
@pytest.mark.parametrize("error", [RuntimeError, AirflowNotFoundException])
def test_canceling_is_retried_until_the_secrets_backend_returns_the_connection(
    task: MakeTask,
    trigger: BulkJobTrigger | PausedBulkJobTrigger,
    leadmagic_sandbox: Sandbox,
    task_state: Callable[[Any], None],
    mocker: MockerFixture,
    end: str,
    error: type[Exception],
) -> None:
    task_state("failed")
    results = [error, error, LeadMagicHook.get_connection("leadmagic_default")]
    mocker.patch.object(LeadMagicHook, "get_connection", side_effect=results)
    mocker.patch(
        "airflow_provider_leadmagic.hooks.leadmagic.get_async_connection", mocker.AsyncMock(side_effect=results)
    )

    end_task(end, task, trigger)

    assert statuses(leadmagic_sandbox) == ["canceled"]


def test_ending_a_task_while_it_searches_for_its_job_cancels_the_job(
    task: MakeTask,
    leadmagic_sandbox: Sandbox,
    mocker: MockerFixture,
    task_state: Callable[[Any], None],
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    task_state("failed")
    enrich = task(store=False)
    killed = mocker.patch.object(JobProgress, "poll", side_effect=Killed)
    with pytest.raises(Killed):
        enrich.run()
    mocker.stop(killed)
    mocker.patch("tests.support.bulk_task_runner.in_new_process", side_effect=lambda it: it)

    def ended(*_: Any) -> None:
        enrich.operator.on_kill()
        raise Killed

    mocker.patch("airflow_provider_leadmagic.operators._bulk_run.check_rows", side_effect=ended)
    with pytest.raises(Killed):
        enrich.retry()

    assert statuses(leadmagic_sandbox) == ["canceled"]


def end_while_it_waits(enrich: Task, mocker: MockerFixture) -> None:
    """Run an attempt that a user ends as soon as it waits on the worker."""
    mocker.patch("tests.support.bulk_task_runner.in_new_process", side_effect=lambda it: it)

    def ended(*_: Any) -> None:
        enrich.operator.on_kill()
        raise Killed

    mocker.patch.object(WorkerWait, "_sleep", side_effect=ended)
    with pytest.raises(Killed):
        enrich.run()


@pytest.mark.usefixtures("sleeps")
@pytest.mark.parametrize("attempt", [1, 2])
def test_ending_a_task_that_waits_for_credits_does_not_report_a_job(
    task: MakeTask,
    leadmagic_sandbox: Sandbox,
    mocker: MockerFixture,
    task_state: Callable[[Any], None],
    attempt: int,
    logged: Callable[[], str],
) -> None:
    task_state("failed")
    enrich = task(deferrable=False)
    enrich.ti.try_number = attempt
    if attempt == 1:
        leadmagic_sandbox.fail_next("/bulk/submit", status=402)
    else:
        leadmagic_sandbox.set_credits(1)
    end_while_it_waits(enrich, mocker)

    log = logged()
    assert "Bulk job not submitted yet." in log
    assert "Bulk job possibly not canceled" not in log


@pytest.mark.usefixtures("sleeps")
def test_ending_a_task_that_waits_for_credits_cancels_a_job_whose_response_was_lost(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, task_state: Callable[[Any], None]
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    task_state("failed")
    enrich = task(deferrable=False)
    leadmagic_sandbox.fail_next("/bulk/submit", lose_response=True)
    leadmagic_sandbox.fail_next("/bulk/submit", status=402)
    leadmagic_sandbox.fail_next("/bulk/jobs", body='{"jobs": [], "limit": 200}', times=4)
    end_while_it_waits(enrich, mocker)

    assert statuses(leadmagic_sandbox) == ["canceled"]


@pytest.mark.parametrize("attempt", ["that submitted it", "that joined it"])
def test_ending_a_task_cancels_its_job_by_id_from_the_moment_it_is_known(
    task: MakeTask,
    leadmagic_sandbox: Sandbox,
    mocker: MockerFixture,
    task_state: Callable[[Any], None],
    attempt: str,
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    task_state("failed")
    enrich = task()
    if attempt == "that joined it":
        killed = mocker.patch.object(JobProgress, "poll", side_effect=Killed)
        with pytest.raises(Killed):
            enrich.run()
        mocker.stop(killed)
        enrich.ti.try_number += 1
    mocker.patch("tests.support.bulk_task_runner.in_new_process", side_effect=lambda it: it)
    leadmagic_sandbox.fail_next("/bulk/jobs", status=403, times=None)

    def ended(*_: Any) -> None:
        enrich.operator.on_kill()
        raise Killed

    mocker.patch.object(SubmittedJob, "save", side_effect=ended)
    with pytest.raises(Killed):
        enrich.run()

    assert statuses(leadmagic_sandbox) == ["canceled"]


@pytest.fixture
def job_id(leadmagic_sandbox: Sandbox) -> str:
    """Return the ID of a running job."""
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    with LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url) as client:
        rows = [{"full_name": "Ada Lovelace", "domain": "example.com"}]
        return client.bulk.submit("email_finder", rows, idempotency_key="key").job_id


@pytest.fixture(params=["BulkJobTrigger", "PausedBulkJobTrigger"])
def trigger(request: pytest.FixtureRequest, job_id: str) -> BulkJobTrigger | PausedBulkJobTrigger:
    """Run the test with each trigger that has a job."""
    deadline = time.time() + NEVER
    if request.param == "BulkJobTrigger":
        return BulkJobTrigger("leadmagic_default", job_id, NEVER, deadline)
    return PausedBulkJobTrigger("leadmagic_default", "9999", NEVER, job_id=job_id, deadline=deadline)


async def stop(trigger: Any, task_instance: Any) -> None:
    """Stop a trigger as a triggerer does."""

    async def run() -> None:
        async for _ in trigger.run():
            pass

    trigger.task_instance = task_instance
    running = asyncio.create_task(run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.sleep(0)
    running.cancel()  # Airflow 3.0 to 3.2 cancel it repeatedly while it exists
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.fixture
def before_airflow_33(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove ``on_kill`` from Airflow's triggers, which have it since 3.3."""
    monkeypatch.delattr(BaseTrigger, "on_kill", raising=False)


@pytest.fixture(params=["on_kill", "cancelled before Airflow 3.3"])
def end(request: pytest.FixtureRequest, trigger: BulkJobTrigger | PausedBulkJobTrigger) -> Callable[[], None]:
    """Return a function that ends a trigger: as Airflow 3.3+ does, or as earlier versions do."""
    trigger.task_instance = TASK_INSTANCE
    if request.param == "on_kill":
        return lambda: asyncio.run(trigger.on_kill())
    request.getfixturevalue("before_airflow_33")
    return lambda: asyncio.run(stop(trigger, TASK_INSTANCE))


@pytest.mark.parametrize("state", [*ENDED_BY_A_USER, None])
def test_a_trigger_cancels_the_job_of_an_ended_task(
    end: Callable[[], None], leadmagic_sandbox: Sandbox, task_state: Callable[[Any], None], state: Any
) -> None:
    task_state(state)

    end()

    assert statuses(leadmagic_sandbox) == ["canceled"]


@pytest.mark.usefixtures("short_patience")
@pytest.mark.parametrize("state", ["deferred", "scheduled", "queued", "running", "up_for_retry", RuntimeError("down")])
def test_a_trigger_cancels_nothing_when_another_triggerer_took_over(
    end: Callable[[], None], leadmagic_sandbox: Sandbox, task_state: Callable[[Any], None], state: Any
) -> None:
    task_state(state)

    end()

    assert leadmagic_sandbox.requests_to("/bulk/jobs/*/review") == []


@pytest.mark.parametrize(
    ("fixture", "task_instance", "time_left"),
    [
        pytest.param("before_airflow_33", TASK_INSTANCE, -1.0, id="the deferral timed out without an attempt left"),
        pytest.param("before_airflow_33", None, NEVER, id="in dag.test"),
        pytest.param(
            "trigger",
            TASK_INSTANCE,
            NEVER,
            id="since Airflow 3.3, which calls on_kill",
            marks=pytest.mark.skipif(not hasattr(BaseTrigger, "on_kill"), reason="Airflow 3.3+ calls on_kill"),
        ),
    ],
)
def test_a_cancelled_trigger_leaves_the_job_running_although_its_task_failed(
    trigger: BulkJobTrigger | PausedBulkJobTrigger,
    leadmagic_sandbox: Sandbox,
    task_state: Callable[[Any], None],
    request: pytest.FixtureRequest,
    fixture: str,
    task_instance: Any,
    time_left: float,
) -> None:
    request.getfixturevalue(fixture)
    task_state("failed")
    trigger.deadline = time.time() + time_left

    asyncio.run(stop(trigger, task_instance))

    assert leadmagic_sandbox.requests_to("/bulk/jobs/*/review") == []


def test_ending_a_task_that_has_resumed_from_a_deferral_cancels_its_job(
    task: MakeTask,
    leadmagic_sandbox: Sandbox,
    mocker: MockerFixture,
    task_state: Callable[[Any], None],
    monkeypatch: pytest.MonkeyPatch,
    job_id: str,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", leadmagic_sandbox.connection_json)
    monkeypatch.delenv("AIRFLOW_CONN_LEADMAGIC_DEFAULT")
    task_state("failed")
    operator = task(deferrable=True, leadmagic_conn_id="other").operator
    seen = {"status": "seen", "job": BulkJob(job_id, "paused", total_rows=1).to_json()}

    def stopped(*_: Any) -> None:
        operator.on_kill()
        raise Killed

    mocker.patch("airflow_provider_leadmagic.operators._bulk_run.is_sufficient", side_effect=stopped)
    with pytest.raises(Killed):
        operator.job_seen({"ti": TASK_INSTANCE}, seen, SubmittedJob(job_id, "key", Decimal(1)).to_json(), NEVER)

    assert statuses(leadmagic_sandbox) == ["canceled"]


def running(operator: Any) -> RunningTask:
    return RunningTask(operator.log, operator.leadmagic_conn_id, TASK_INSTANCE)
