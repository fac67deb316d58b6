"""Waiting on the worker and in the triggerer: durations, requests, and what the task continues with."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.api.jobs import BulkJob
from airflow_provider_leadmagic.api.models import CreditBalance
from airflow_provider_leadmagic.api.transport import Transport
from airflow_provider_leadmagic.bulk.previous_attempts import SubmittedJob
from airflow_provider_leadmagic.bulk.progress import JobProgress
from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.decisions.events import sufficient_event
from airflow_provider_leadmagic.exceptions import LeadMagicConfigurationError, LeadMagicError, LeadMagicTimeoutError
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from airflow_provider_leadmagic.operators import _bulk_waiting as bulk_waiting
from airflow_provider_leadmagic.operators._bulk_waiting import ResumeMethods, TriggererWait, WorkerWait
from tests.support.bulk_task_runner import DagRun, TaskInstance

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_mock import MockerFixture

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from tests.unit.operators.conftest import MakeTask, When

CREDITS, JOB = "/v1/credits", "/bulk/jobs/*"
NOW = 1000.0
SUBMITTED_JOB = SubmittedJob("job-1", "airflow-key", Decimal("12.5"))


@dataclass
class Clock:
    """A fake clock that only ``sleep`` advances."""

    now: float = NOW
    sleeps: list[float] = field(default_factory=list)

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.sleeps.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(bulk_waiting, "time", clock := Clock())
    return clock


@pytest.fixture
def submitted_job(leadmagic_sandbox: Sandbox) -> SubmittedJob:
    """Return a job that is finished at the first poll."""
    with LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url) as client:
        rows = [{"full_name": "Ada Lovelace", "domain": "example.com"}]
        job = client.bulk.submit("email_finder", rows, idempotency_key="airflow-key")
    return SubmittedJob(job.job_id, "airflow-key", Decimal(1))


@pytest.fixture(params=[CREDITS, JOB])
def path(request: pytest.FixtureRequest) -> str:
    """Run the test for polls of the balance and of the job."""
    return request.param


@pytest.fixture
def wait_for(log: Any, submitted_job: SubmittedJob, clock: Clock) -> Callable[..., None]:
    """Return a function that waits on the worker for credits or for the job."""

    def start(path: str, interval: float = 60, deadline: float = 1e12) -> None:
        wait = WorkerWait(log, "leadmagic_default", interval, deadline)
        if path == CREDITS:
            wait.to_submit(Decimal(5), set())
        else:
            wait.for_job(submitted_job, report_pause=True, requested_wait=0.0)

    return start


@pytest.fixture
def log(task: MakeTask) -> Any:
    return task().operator.log


def not_yet(path: str, submitted_job: SubmittedJob) -> str:
    return '{"credits": 1}' if path == CREDITS else job_body(submitted_job, "processing")


def job_body(submitted_job: SubmittedJob, status: str) -> str:
    return json.dumps({"job_id": submitted_job.job_id, "status": status})


class TestOnTheWorker:
    def test_it_sleeps_an_interval_before_each_poll(
        self, leadmagic_sandbox: Sandbox, wait_for: Callable[..., None], clock: Clock, path: str
    ) -> None:
        leadmagic_sandbox.fail_next(path, status=503, times=2)

        wait_for(path)

        assert clock.sleeps == [60, 60, 60]

    def test_it_retries_while_the_connection_cannot_be_read(
        self,
        wait_for: Callable[..., None],
        clock: Clock,
        path: str,
        mocker: MockerFixture,
        logged: Callable[[], str],
    ) -> None:
        readable = LeadMagicHook("leadmagic_default", max_attempts=1).get_conn()
        missing = LeadMagicConfigurationError("Connection 'leadmagic_default' not found")
        outages = [RuntimeError("the secrets backend is down"), missing, readable]
        mocker.patch.object(LeadMagicHook, "get_conn", side_effect=outages)

        wait_for(path)

        assert clock.sleeps == [60, 60, 60]
        log = logged()
        first = (
            "poll failed (1 in a row), retrying in 60 s: Connection 'leadmagic_default' cannot be read (RuntimeError)."
        )
        assert first in log
        assert "poll failed (2 in a row), retrying in 60 s: Connection 'leadmagic_default' not found" in log

    def test_it_sleeps_for_the_requested_retry_after_once(
        self,
        leadmagic_sandbox: Sandbox,
        wait_for: Callable[..., None],
        clock: Clock,
        path: str,
        submitted_job: SubmittedJob,
    ) -> None:
        leadmagic_sandbox.fail_next(path, retry_after=300)
        leadmagic_sandbox.fail_next(path, body=not_yet(path, submitted_job))

        wait_for(path)

        assert clock.sleeps == [60, 300, 60]

    def test_it_does_not_poll_a_job_before_the_requested_wait(
        self, log: Any, submitted_job: SubmittedJob, clock: Clock
    ) -> None:
        WorkerWait(log, "leadmagic_default", 60, 1e12).for_job(submitted_job, report_pause=True, requested_wait=90)

        assert clock.sleeps == [90]

    @pytest.mark.parametrize(("report_pause", "ended_as"), [(True, "paused"), (False, "completed")])
    def test_a_pause_ends_the_wait_only_with_report_pause(
        self,
        leadmagic_sandbox: Sandbox,
        log: Any,
        submitted_job: SubmittedJob,
        clock: Clock,
        report_pause: bool,
        ended_as: str,
    ) -> None:
        leadmagic_sandbox.fail_next(JOB, body=job_body(submitted_job, "paused"))

        job = WorkerWait(log, "leadmagic_default", 60, 1e12).for_job(
            submitted_job, report_pause=report_pause, requested_wait=0.0
        )

        assert job.status == ended_as

    def test_it_ends_at_its_deadline(
        self, leadmagic_sandbox: Sandbox, wait_for: Callable[..., None], clock: Clock, path: str
    ) -> None:
        leadmagic_sandbox.fail_next(path, retry_after=300, times=None)

        with pytest.raises(LeadMagicTimeoutError):
            wait_for(path, deadline=NOW + 100)

        assert clock.sleeps == [60, 40]

    def test_each_poll_is_one_request(
        self, leadmagic_sandbox: Sandbox, wait_for: Callable[..., None], path: str
    ) -> None:
        leadmagic_sandbox.fail_next(path, status=500, times=3)

        wait_for(path)

        assert len(leadmagic_sandbox.requests_to(path)) == 4

    def test_failed_polls_are_counted_from_one_after_a_successful_poll(
        self,
        leadmagic_sandbox: Sandbox,
        wait_for: Callable[..., None],
        logged: Callable[[], str],
        path: str,
        submitted_job: SubmittedJob,
    ) -> None:
        leadmagic_sandbox.fail_next(path, status=503)
        leadmagic_sandbox.fail_next(path, body=not_yet(path, submitted_job))
        leadmagic_sandbox.fail_next(path, status=503, times=2)

        wait_for(path)

        log = logged()
        assert [log.count(f"poll failed ({number} in a row), retrying in ") for number in (1, 2, 3)] == [2, 1, 0]


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("deadline", "next_poll_in"), [(NOW + 500, 60), (NOW + 30, 30), (NOW, math.inf), (NOW - 0.5, math.inf)]
)
def test_the_worker_polls_no_later_than_at_the_deadline(log: Any, deadline: float, next_poll_in: float) -> None:
    assert WorkerWait(log, "leadmagic_default", 60, deadline).next_poll_in() == next_poll_in


@pytest.mark.parametrize(("deadline", "left"), [(NOW + 500, 500), (NOW, 0), (NOW - 1, 0)])
def test_time_left_ends_at_the_deadline(log: Any, clock: Clock, deadline: float, left: float) -> None:
    waits = [
        WorkerWait(log, "other", 60, deadline),
        TriggererWait(pytest.fail, "other", 60, deadline, METHODS),
    ]
    assert [wait.time_left() for wait in waits] == [left, left]


METHODS = ResumeMethods("credits_to_order", "credits_to_resume", "job_seen")
DEFERRALS: dict[str, tuple[Callable[[TriggererWait], object], str, dict[str, Any], dict[str, Any]]] = {
    "credits to submit": (
        lambda wait: wait.to_submit(Decimal("12.5"), {"job-2", "job-1"}),
        "credits_to_order",
        {"minimum_credits": "12.5", "poke_interval": 60, "waiting_since": NOW},
        {"known_jobs": ["job-1", "job-2"]},
    ),
    "credits to resume": (
        lambda wait: wait.to_resume(Decimal("12.5"), SUBMITTED_JOB),
        "credits_to_resume",
        {
            "minimum_credits": "12.5",
            "poke_interval": 60,
            "waiting_since": NOW,
            "job_id": "job-1",
            "deadline": NOW + 500,
        },
        {"record": SUBMITTED_JOB.to_json()},
    ),
    "the job": (
        lambda wait: wait.for_job(SUBMITTED_JOB, report_pause=True, requested_wait=0.0),
        "job_seen",
        {
            "job_id": "job-1",
            "poll_interval": 60,
            "deadline": NOW + 500,
            "report_pause": True,
            "not_before": 0,
            "waiting_since": NOW,
        },
        {"record": SUBMITTED_JOB.to_json()},
    ),
    "the job, later": (
        lambda wait: wait.for_job(SUBMITTED_JOB, report_pause=False, requested_wait=90),
        "job_seen",
        {"job_id": "job-1", "report_pause": False, "not_before": NOW + 90, "waiting_since": NOW},
        {"record": SUBMITTED_JOB.to_json()},
    ),
}


class DeferredError(Exception):
    """Airflow's ``defer`` never returns."""


def deferral_by(start: Callable[[TriggererWait], object], deadline: float) -> dict[str, Any]:
    def defer(**arguments: Any) -> None:
        raise DeferredError(arguments)

    with pytest.raises(DeferredError) as deferred:
        start(TriggererWait(defer, "other", 60, deadline, METHODS))
    return deferred.value.args[0]


@pytest.mark.usefixtures("clock")
class TestInTheTriggerer:
    @pytest.mark.parametrize("waiting_for", DEFERRALS)
    def test_the_deferral_contains_the_arguments_of_trigger_and_task(self, waiting_for: str) -> None:
        start, method_name, trigger_arguments, task_arguments = DEFERRALS[waiting_for]

        deferral = deferral_by(start, NOW + 500)

        _, serialized = deferral["trigger"].serialize()
        assert {name: serialized[name] for name in trigger_arguments} == trigger_arguments
        assert serialized["leadmagic_conn_id"] == "other"
        assert deferral["method_name"] == method_name
        assert deferral["kwargs"] == {"deadline": NOW + 500, **task_arguments}
        assert deferral["timeout"] == timedelta(seconds=500)

    @pytest.mark.parametrize("waiting_for", DEFERRALS)
    def test_no_task_is_deferred_after_its_deadline(self, waiting_for: str) -> None:
        with pytest.raises(LeadMagicTimeoutError):
            DEFERRALS[waiting_for][0](TriggererWait(pytest.fail, "other", 60, NOW, METHODS))


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(("seconds_left", "next_poll_in"), [(60, math.inf), (60.5, 60)])
def test_the_triggerer_announces_no_poll_at_the_deadline_or_after_it(seconds_left: float, next_poll_in: float) -> None:
    wait = TriggererWait(pytest.fail, "other", 60, NOW + seconds_left, METHODS)

    assert wait.next_poll_in() == next_poll_in


def test_a_retry_after_of_the_immediate_poll_delays_the_next_one(
    task: MakeTask, leadmagic_sandbox: Sandbox, clock: Clock
) -> None:
    leadmagic_sandbox.fail_next(JOB, retry_after=0.3)

    task(deferrable=False).run()

    assert clock.sleeps == [0.3]


def test_a_connection_that_cannot_be_read_right_after_the_submission_is_a_failed_poll(
    task: MakeTask, mocker: MockerFixture, deferrable: bool
) -> None:
    def submitted(*arguments: Any) -> None:
        mocker.patch.object(LeadMagicHook, "get_conn", side_effect=fail_once)

    def fail_once() -> None:
        mocker.stopall()
        raise RuntimeError("the secrets backend is down")

    mocker.patch.object(SubmittedJob, "save", side_effect=submitted)

    assert task(deferrable=deferrable).run()["succeeded"] == 5


def test_a_successful_poll_resets_the_requested_wait(
    leadmagic_sandbox: Sandbox, submitted_job: SubmittedJob, log: Any
) -> None:
    leadmagic_sandbox.fail_next(JOB, retry_after=300)
    progress = JobProgress(log, submitted_job.job_id, next_poll_in=float)
    with LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url, max_attempts=1) as client:
        progress.poll(client)
        assert progress.requested_wait == 300

        progress.poll(client)

    assert progress.requested_wait == 0


def test_every_request_uses_the_connection_of_the_task(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", leadmagic_sandbox.connection_json)
    monkeypatch.delenv("AIRFLOW_CONN_LEADMAGIC_DEFAULT")
    leadmagic_sandbox.set_credits(4)
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    when(lambda: len(leadmagic_sandbox.requests_to(CREDITS)) >= 2, lambda: leadmagic_sandbox.set_credits(5))
    when(lambda: bool(leadmagic_sandbox.requests_to(JOB)), lambda: run_out_of_credits(leadmagic_sandbox))
    when(lambda: is_paused(leadmagic_sandbox), lambda: leadmagic_sandbox.set_credits(3))

    assert task(leadmagic_conn_id="other", deferrable=deferrable).run()["succeeded"] == 5


def test_every_client_is_closed(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool, mocker: MockerFixture
) -> None:
    opened = mocker.spy(Transport, "__init__")
    closed = mocker.spy(Transport, "close")
    leadmagic_sandbox.set_credits(4)
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    when(lambda: len(leadmagic_sandbox.requests_to(CREDITS)) >= 2, lambda: leadmagic_sandbox.set_credits(5))
    when(lambda: bool(leadmagic_sandbox.requests_to(JOB)), lambda: run_out_of_credits(leadmagic_sandbox))
    when(lambda: is_paused(leadmagic_sandbox), lambda: leadmagic_sandbox.set_credits(3))

    task(deferrable=deferrable).run()

    left_open = {id(call.args[0]) for call in opened.call_args_list} - {
        id(call.args[0]) for call in closed.call_args_list
    }
    assert left_open == set()


def run_out_of_credits(sandbox: Sandbox) -> None:
    sandbox.set_credits(2)
    sandbox.advance_bulk(1000)
    sandbox.bulk_speed()


def is_paused(sandbox: Sandbox) -> bool:
    return [job.status for job in sandbox.bulk_jobs] == ["paused"]


SUFFICIENT = sufficient_event(CreditBalance.from_api({"credits": Decimal(5)}), Decimal(5))
EVENTS: dict[str, dict[str, Any]] = {
    "credits_to_order": {"event": SUFFICIENT},
    "credits_to_resume": {"event": SUFFICIENT, "record": SUBMITTED_JOB.to_json()},
    "job_seen": {
        "event": {"status": "seen", "job": BulkJob("job-1", "paused", total_rows=50).to_json()},
        "record": SUBMITTED_JOB.to_json(),
    },
}


@pytest.mark.usefixtures("sleeps")
@pytest.mark.parametrize("method_name", EVENTS)
def test_time_in_the_triggerer_counts_toward_the_timeout(
    task: MakeTask, leadmagic_sandbox: Sandbox, method_name: str
) -> None:
    leadmagic_sandbox.set_credits(4)  # the rest was spent elsewhere in the meantime
    leadmagic_sandbox.fail_next(JOB, body='{"job_id": "job-1", "status": "processing"}', times=None)
    resume = getattr(task(deferrable=True, timeout=3600).operator, method_name)

    with pytest.raises(LeadMagicTimeoutError):
        resume({"ti": TaskInstance(), "dag_run": DagRun()}, **EVENTS[method_name], deadline=NOW)


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ({"error": "Trigger failure", "traceback": ["a bug"]}, r"^Trigger failed \(Trigger failure\): "),
        (None, r"^Trigger failed \(None\): "),
    ],
)
def test_a_crashed_trigger_is_not_reported_as_a_timeout(
    task: MakeTask, failure: dict[str, Any] | None, message: str
) -> None:
    with pytest.raises(LeadMagicError, match=message) as raised:
        task().operator.resume_execution("__fail__", failure, {})

    assert not isinstance(raised.value, LeadMagicTimeoutError)
