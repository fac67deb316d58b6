"""Who ends a task decides what becomes of its job: a person cancels it, a machine leaves it to the next try."""

from __future__ import annotations

import asyncio
import threading
import time
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.triggers.base import BaseTrigger

from airflow_provider_leadmagic.api.bulk import Bulk
from airflow_provider_leadmagic.api.jobs import BulkJob
from airflow_provider_leadmagic.bulk.cancel import ON_KILL_PATIENCE, RunningTask
from airflow_provider_leadmagic.bulk.previous_attempts import SubmittedJob
from airflow_provider_leadmagic.bulk.progress import JobProgress
from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.compat.imports import AirflowFailException
from airflow_provider_leadmagic.exceptions import LeadMagicError
from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator
from airflow_provider_leadmagic.triggers.bulk import BulkJobTrigger, PausedBulkJobTrigger
from dev.local_airflow import wait_until
from tests.support.bulk_task_runner import Killed

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_mock import MockerFixture

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from tests.support.bulk_task_runner import Task
    from tests.unit.operators.conftest import MakeTask

BY_HAND = ["failed", "success", "skipped", "removed", "upstream_failed", "restarting"]
#: A worker that is told to stop, or that Airflow believes to be lost while it is not.
BY_A_MACHINE = ["running", "up_for_retry", "scheduled", "queued", "deferred", None]
NEVER = 3600.0
TASK_INSTANCE: Any = SimpleNamespace(task_id="enrich")


def statuses(sandbox: Sandbox) -> list[str]:
    return [job.status for job in sandbox.bulk_jobs]


@pytest.fixture
def task_state(mocker: MockerFixture) -> Callable[[Any], None]:
    """Say what Airflow says about the task: only a real Airflow can, and the end-to-end tests ask one."""

    def set_state(state: Any) -> None:
        answer = {"side_effect": state} if isinstance(state, Exception) else {"return_value": state}
        for question in ("state_of", "astate_of"):
            mocker.patch(f"airflow_provider_leadmagic.compat.task_state.{question}", **answer)

    return set_state


def stop_while_waiting(task: MakeTask, mocker: MockerFixture) -> None:
    """Let a task wait on a worker, and tell the worker to stop, as Airflow does by a signal."""
    operator = (waiting := task(deferrable=False)).operator

    def stopped(*_: Any) -> None:
        on_kill()
        raise Killed

    mocker.patch.object(JobProgress, "look", side_effect=stopped)
    copied: list[Any] = []
    mocker.patch("tests.support.bulk_task_runner.copy.copy", side_effect=lambda it: copied.append(it) or it)
    on_kill = operator.on_kill
    with pytest.raises(Killed):
        waiting.run()


@pytest.mark.parametrize("state", BY_HAND)
def test_a_person_who_ends_a_running_task_ends_its_job(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, task_state: Callable[[Any], None], state: Any
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    task_state(state)

    stop_while_waiting(task, mocker)

    assert statuses(leadmagic_sandbox) == ["canceled"]


@pytest.mark.parametrize("state", [*BY_A_MACHINE, RuntimeError("the database is away")])
def test_a_worker_that_has_to_stop_leaves_the_job_to_the_next_try(
    task: MakeTask,
    leadmagic_sandbox: Sandbox,
    mocker: MockerFixture,
    task_state: Callable[[Any], None],
    state: Any,
    said: Callable[[], str],
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    task_state(state)

    stop_while_waiting(task, mocker)

    assert leadmagic_sandbox.requests_to("/bulk/jobs/*/review") == []
    assert "goes on" in said()


def test_a_task_that_has_ordered_nothing_yet_has_nothing_to_cancel(
    task: MakeTask, leadmagic_sandbox: Sandbox, task_state: Callable[[Any], None]
) -> None:
    task_state("failed")

    task().operator.on_kill()

    assert leadmagic_sandbox.requests == []


def test_a_signal_that_interrupts_a_talk_with_airflow_still_ends_the_job(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, job_id: str
) -> None:
    talk = threading.Lock()

    def ask_airflow(_: Any) -> str:
        with talk:
            return "failed"

    mocker.patch("airflow_provider_leadmagic.compat.task_state.state_of", side_effect=ask_airflow)
    mocker.patch("airflow_provider_leadmagic.bulk.cancel.ON_KILL_PATIENCE", 0.02)
    operator = task().operator
    operator._canceller.remember_job(running(operator), job_id)

    with talk:
        operator.on_kill()
        assert statuses(leadmagic_sandbox) == ["uploaded"]

    wait_until(lambda: statuses(leadmagic_sandbox) == ["canceled"], 5, "the job to be canceled")


def kill_while(
    calling: str, happens: str, enrich: Task, mocker: MockerFixture, then: type[BaseException] | None = None
) -> None:
    """Tell a task to stop in the middle of a call, ``before`` or ``after`` LeadMagic gets it; it may die of that."""
    call = getattr(Bulk, calling)
    operators: list[Any] = []
    mocker.patch("tests.support.bulk_task_runner.copy.copy", side_effect=lambda it: operators.append(it) or it)

    def killed(*arguments: Any, **keywords: Any) -> Any:
        answer = call(*arguments, **keywords) if happens == "after" else None
        [operator] = [each for each in operators if isinstance(each, BulkEnrichmentOperator)]  # libraries copy, too
        operator.on_kill()
        if then:
            raise then
        return answer if happens == "after" else call(*arguments, **keywords)

    mocker.patch.object(Bulk, calling, autospec=True, side_effect=killed)
    with pytest.raises((LeadMagicError, AirflowFailException, Killed)):
        enrich.run()


def test_a_task_that_is_ended_before_it_orders_orders_nothing(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, task_state: Callable[[Any], None]
) -> None:
    task_state("failed")

    kill_while("preview", "before", task(), mocker)  # Airflow 3 lets it run on for five seconds

    assert leadmagic_sandbox.bulk_jobs == []


@pytest.mark.parametrize("then", [None, Killed], ids=["and runs on", "and dies"])
@pytest.mark.parametrize(("state", "becomes"), [("failed", "canceled"), ("running", "uploaded")])
def test_a_task_that_is_ended_while_it_orders_ends_the_job_that_comes_of_it(
    task: MakeTask,
    leadmagic_sandbox: Sandbox,
    mocker: MockerFixture,
    task_state: Callable[[Any], None],
    then: type[BaseException] | None,
    state: str,
    becomes: str,
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    task_state(state)

    kill_while("submit", "after", task(timeout=0.1), mocker, then)

    assert statuses(leadmagic_sandbox) == [becomes]


def test_a_job_of_somebody_else_is_not_taken_for_the_one_that_was_ordered(
    task: MakeTask, leadmagic_sandbox: Sandbox, task_state: Callable[[Any], None]
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    task_state("failed")
    with LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url) as client:
        for key in ("airflow-ours", "airflow-theirs"):
            rows = [{"full_name": "Ada Lovelace", "domain": "example.com"}]
            client.bulk.submit("email_finder", rows, idempotency_key=key, file_name=f"{key}.digest")
    operator = task().operator
    operator._canceller.before_submit(running(operator), "airflow-ours")

    operator.on_kill()

    assert statuses(leadmagic_sandbox) == ["canceled", "uploaded"]


def test_a_task_that_is_ended_while_its_order_is_on_the_way_ends_the_job_when_it_comes(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, task_state: Callable[[Any], None]
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    task_state("failed")

    kill_while("submit", "before", task(), mocker)

    assert statuses(leadmagic_sandbox) == ["canceled"]


def test_a_job_that_cannot_be_canceled_is_told_to_people(
    task: MakeTask,
    leadmagic_sandbox: Sandbox,
    mocker: MockerFixture,
    task_state: Callable[[Any], None],
    said: Callable[[], str],
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    leadmagic_sandbox.fail_next("/bulk/jobs/*/review", status=503, times=None)
    task_state("failed")

    stop_while_waiting(task, mocker)

    [job] = leadmagic_sandbox.bulk_jobs
    assert f"Job {job.job_id} could not be canceled and may go on to spend credits: cancel it there." in said()


@pytest.fixture
def job_id(leadmagic_sandbox: Sandbox) -> str:
    """A job that is under way."""
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    with LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url) as client:
        rows = [{"full_name": "Ada Lovelace", "domain": "example.com"}]
        return client.bulk.submit("email_finder", rows, idempotency_key="key").job_id


@pytest.fixture(params=["BulkJobTrigger", "PausedBulkJobTrigger"])
def trigger(request: pytest.FixtureRequest, job_id: str) -> BulkJobTrigger | PausedBulkJobTrigger:
    """Both triggers that hold a job."""
    deadline = time.time() + NEVER
    if request.param == "BulkJobTrigger":
        return BulkJobTrigger("leadmagic_default", job_id, NEVER, deadline)
    return PausedBulkJobTrigger("leadmagic_default", "9999", NEVER, job_id=job_id, deadline=deadline)


@pytest.mark.parametrize("state", [*BY_HAND, None])
def test_airflow_tells_a_trigger_that_a_person_ended_the_task(
    trigger: BulkJobTrigger | PausedBulkJobTrigger,
    leadmagic_sandbox: Sandbox,
    task_state: Callable[[Any], None],
    state: Any,
) -> None:
    task_state(state)
    trigger.task_instance = TASK_INSTANCE

    asyncio.run(trigger.on_kill())

    assert statuses(leadmagic_sandbox) == ["canceled"]


@pytest.mark.parametrize("state", ["deferred", "scheduled", "queued", "running", "up_for_retry", RuntimeError("away")])
def test_airflow_tells_it_also_when_another_triggerer_took_over_which_cancels_nothing(
    trigger: BulkJobTrigger | PausedBulkJobTrigger,
    leadmagic_sandbox: Sandbox,
    task_state: Callable[[Any], None],
    state: Any,
) -> None:
    task_state(state)
    trigger.task_instance = TASK_INSTANCE

    asyncio.run(trigger.on_kill())

    assert leadmagic_sandbox.requests_to("/bulk/jobs/*/review") == []


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
    running.cancel()  # Airflow 3.0 to 3.2 do it again and again, as long as the trigger is there
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.fixture
def before_airflow_33(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take ``on_kill`` from Airflow's triggers, as they have it since 3.3."""
    monkeypatch.delattr(BaseTrigger, "on_kill", raising=False)


@pytest.mark.usefixtures("before_airflow_33")
@pytest.mark.parametrize("state", [*BY_HAND, None])
def test_before_airflow_33_a_trigger_finds_out_that_a_person_ended_the_task(
    trigger: BulkJobTrigger | PausedBulkJobTrigger,
    leadmagic_sandbox: Sandbox,
    task_state: Callable[[Any], None],
    state: Any,
) -> None:
    task_state(state)

    asyncio.run(stop(trigger, TASK_INSTANCE))

    assert statuses(leadmagic_sandbox) == ["canceled"]


@pytest.mark.usefixtures("before_airflow_33")
@pytest.mark.parametrize("state", ["deferred", "scheduled", "queued", "running", RuntimeError("the database is away")])
def test_before_airflow_33_a_trigger_that_moves_to_another_triggerer_cancels_nothing(
    trigger: BulkJobTrigger | PausedBulkJobTrigger,
    leadmagic_sandbox: Sandbox,
    task_state: Callable[[Any], None],
    state: Any,
) -> None:
    task_state(state)

    asyncio.run(stop(trigger, TASK_INSTANCE))

    assert leadmagic_sandbox.requests_to("/bulk/jobs/*/review") == []


@pytest.mark.usefixtures("before_airflow_33")
def test_before_airflow_33_a_deferral_that_ran_out_of_time_cancels_nothing(
    trigger: BulkJobTrigger | PausedBulkJobTrigger,
    leadmagic_sandbox: Sandbox,
    task_state: Callable[[Any], None],
) -> None:
    task_state("failed")  # by now, as there was no other try
    trigger.deadline = time.time() - 1

    asyncio.run(stop(trigger, TASK_INSTANCE))

    assert leadmagic_sandbox.requests_to("/bulk/jobs/*/review") == []


@pytest.mark.skipif(not hasattr(BaseTrigger, "on_kill"), reason="Airflow before 3.3 does not tell")
def test_from_airflow_33_on_a_trigger_that_is_stopped_waits_to_be_told(
    trigger: BulkJobTrigger | PausedBulkJobTrigger, leadmagic_sandbox: Sandbox, task_state: Callable[[Any], None]
) -> None:
    task_state("failed")

    asyncio.run(stop(trigger, TASK_INSTANCE))

    assert leadmagic_sandbox.requests_to("/bulk/jobs/*/review") == []


@pytest.mark.usefixtures("before_airflow_33")
def test_before_airflow_33_a_trigger_that_cannot_find_out_says_that_the_job_goes_on(
    trigger: BulkJobTrigger | PausedBulkJobTrigger, task_state: Callable[[Any], None], said: Callable[[], str]
) -> None:
    task_state(RuntimeError("the database is away"))

    asyncio.run(stop(trigger, TASK_INSTANCE))

    assert f"Nobody could be asked why job {trigger.job_id} is not watched any more; it goes on." in said()


@pytest.mark.usefixtures("before_airflow_33")
def test_before_airflow_33_a_trigger_of_a_test_run_cancels_nothing(
    trigger: BulkJobTrigger | PausedBulkJobTrigger, leadmagic_sandbox: Sandbox, task_state: Callable[[Any], None]
) -> None:
    task_state("failed")

    asyncio.run(stop(trigger, None))

    assert leadmagic_sandbox.requests_to("/bulk/jobs/*/review") == []


def test_a_person_who_ends_a_task_that_was_deferred_before_ends_its_job(
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


def test_canceling_has_one_attempt_as_airflow_kills_the_process_soon(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture, task_state: Callable[[Any], None]
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    leadmagic_sandbox.fail_next("/bulk/jobs/*/review", status=503, times=None)
    task_state("failed")

    stop_while_waiting(task, mocker)

    assert len(leadmagic_sandbox.requests_to("/bulk/jobs/*/review")) == 1
    assert ON_KILL_PATIENCE < 5


def running(operator: Any) -> RunningTask:
    return RunningTask(operator.log, operator.leadmagic_conn_id, TASK_INSTANCE)
