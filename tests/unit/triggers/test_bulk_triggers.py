"""The triggers of bulk jobs: their serialization, their polling schedule, and the errors they tolerate."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.models.trigger import Trigger

from airflow_provider_leadmagic.bulk.progress import job_from
from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.exceptions import LeadMagicAuthenticationError, LeadMagicError
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from airflow_provider_leadmagic.triggers import shared_poll
from airflow_provider_leadmagic.triggers.bulk import BulkJobTrigger, PausedBulkJobTrigger
from airflow_provider_leadmagic.triggers.credits import SufficientCreditsTrigger
from tests.support.sensor_runner import first_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_mock import MockerFixture

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

NOW, DAY, MONTH = 1_000_000_000.0, 86_400.0, 30 * 86_400.0
JOB_TRIGGER = BulkJobTrigger(
    "leadmagic_default", "job-1", 60, 1234.5, report_pause=False, not_before=7.5, waiting_since=5.5
)
PAUSED_TRIGGER = PausedBulkJobTrigger("leadmagic_default", "12.5", 60, job_id="job-1", deadline=1234.5)


@pytest.mark.parametrize("trigger", [JOB_TRIGGER, PAUSED_TRIGGER], ids=lambda trigger: type(trigger).__name__)
def test_airflow_restores_it_unchanged(trigger: Any) -> None:
    classpath, kwargs = trigger.serialize()

    stored = Trigger(classpath=classpath, kwargs=kwargs)

    assert classpath == f"airflow_provider_leadmagic.triggers.bulk.{type(trigger).__name__}"
    assert type(trigger)(**stored.kwargs).serialize() == (classpath, kwargs)
    assert json.loads(json.dumps(kwargs)) == kwargs
    assert {name: kwargs[name] for name in ("leadmagic_conn_id", "job_id", "deadline")} == {
        "leadmagic_conn_id": "leadmagic_default",
        "job_id": "job-1",
        "deadline": 1234.5,
    }


def test_by_default_it_polls_at_once_and_reports_a_pause() -> None:
    _, kwargs = BulkJobTrigger("leadmagic_default", "job-1", 60, 1234.5).serialize()

    assert (kwargs["report_pause"], kwargs["not_before"], kwargs["waiting_since"]) == (True, 0.0, 0.0)


def test_paused_jobs_share_the_polls_of_sensors() -> None:
    sensor_trigger = SufficientCreditsTrigger("leadmagic_default", "500", 60)

    assert PAUSED_TRIGGER.shared_stream_key() == sensor_trigger.shared_stream_key()


@pytest.fixture
def job_id(leadmagic_sandbox: Sandbox) -> str:
    """Return the ID of a finished job."""
    with LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url) as client:
        rows = [{"full_name": "Ada Lovelace", "domain": "example.com"}]
        return client.bulk.submit("email_finder", rows, idempotency_key="key").job_id


@pytest.fixture
def sleeps(mocker: MockerFixture) -> list[float]:
    """Make the triggers' sleeps return at once and without jitter, and return the list of their durations."""
    mocker.patch.object(shared_poll, "_jitter", return_value=0.0)
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(round(seconds, 1))

    # Do not patch asyncio.sleep itself: the sandbox uses it.
    patched = SimpleNamespace(**{**vars(asyncio), "sleep": sleep})
    mocker.patch("airflow_provider_leadmagic.triggers.bulk.asyncio", patched)
    return waits


def run_trigger(job_id: str, **changes: Any) -> Any:
    trigger = BulkJobTrigger("leadmagic_default", job_id, **{"poll_interval": 60, "deadline": 1e12, **changes})
    return asyncio.run(first_event(trigger))


def test_it_sleeps_an_interval_before_each_further_poll(
    leadmagic_sandbox: Sandbox, job_id: str, sleeps: list[float]
) -> None:
    leadmagic_sandbox.fail_next("/bulk/jobs/*", status=503)

    assert job_from(run_trigger(job_id, waiting_since=time.time())).is_completed
    assert sleeps == [60, 60]


def test_it_sleeps_once_for_the_requested_retry_after(
    leadmagic_sandbox: Sandbox, job_id: str, sleeps: list[float]
) -> None:
    leadmagic_sandbox.fail_next("/bulk/jobs/*", retry_after=300)
    leadmagic_sandbox.fail_next("/bulk/jobs/*", body=json.dumps({"job_id": job_id, "status": "processing"}))

    run_trigger(job_id)

    assert sleeps == [0, 300, 60]


@pytest.mark.parametrize(
    ("arguments", "first_sleep"),
    [
        pytest.param({"waiting_since": NOW}, 60, id="just deferred"),
        pytest.param({"waiting_since": NOW - 45}, 15, id="a restart within the interval"),
        pytest.param({"waiting_since": NOW - 500}, 0, id="a restart after the interval"),
        pytest.param({}, 0, id="deferred by an older version of this package"),
        pytest.param({"waiting_since": NOW, "not_before": NOW + 90}, 90, id="Retry-After"),
        pytest.param({"not_before": NOW + 90}, 90, id="Retry-After, deferred by an older version"),
        pytest.param({"not_before": NOW + MONTH}, DAY, id="this clock is slow, deferred by an older version"),
        pytest.param({"waiting_since": NOW + MONTH}, 60, id="this clock is slow"),
        pytest.param({"waiting_since": NOW + MONTH, "not_before": NOW + MONTH + 90}, 90, id="slow, Retry-After"),
        pytest.param({"waiting_since": NOW, "not_before": NOW + MONTH}, DAY, id="a Retry-After of a month"),
        pytest.param({"waiting_since": NOW - MONTH}, 0, id="this clock is fast"),
    ],
)
def test_a_restart_or_another_clock_does_not_reset_the_polling_schedule(
    job_id: str, sleeps: list[float], mocker: MockerFixture, arguments: dict[str, float], first_sleep: float
) -> None:
    mocker.patch.object(shared_poll, "time", mocker.Mock(wraps=time, time=lambda: NOW))

    run_trigger(job_id, **arguments)

    assert sleeps == [first_sleep]


def test_a_triggerer_that_restarts_more_often_than_the_interval_polls_the_job(
    leadmagic_sandbox: Sandbox, job_id: str
) -> None:
    deferred_at = time.time()

    async def run_for(seconds: float) -> None:
        trigger = BulkJobTrigger("leadmagic_default", job_id, 1.0, 1e12, waiting_since=deferred_at)
        with suppress(TimeoutError):
            await asyncio.wait_for(first_event(trigger), seconds)

    for _ in range(5):
        asyncio.run(run_for(0.4))

    assert leadmagic_sandbox.requests_to("/bulk/jobs/*")


def test_jobs_that_are_taken_over_together_are_polled_at_different_moments(
    leadmagic_sandbox: Sandbox, job_id: str, mocker: MockerFixture
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    mocker.patch(
        "airflow_provider_leadmagic.triggers.bulk.asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep})
    )
    for _ in range(10):
        run_trigger(job_id, waiting_since=1.0)

    assert len(set(waits)) == 10
    assert 0 <= min(waits) <= max(waits) <= shared_poll.LONGEST_JITTER


@pytest.mark.parametrize(
    ("seconds_left", "advice"), [(60, ", no further poll before the timeout: "), (61, ", retrying in 60 s: ")]
)
def test_a_failed_poll_logs_whether_the_next_one_comes_before_the_deadline(
    leadmagic_sandbox: Sandbox,
    job_id: str,
    sleeps: list[float],
    mocker: MockerFixture,
    logged: Callable[[], str],
    seconds_left: float,
    advice: str,
) -> None:
    mocker.patch("airflow_provider_leadmagic.triggers.bulk.time", SimpleNamespace(time=lambda: NOW))
    leadmagic_sandbox.fail_next("/bulk/jobs/*", status=503)

    run_trigger(job_id, deadline=NOW + seconds_left)

    assert f"poll failed (1 in a row){advice}" in logged()


@pytest.mark.parametrize("status", [None, 503, 401])
def test_it_closes_its_client_after_each_poll(
    leadmagic_sandbox: Sandbox, job_id: str, sleeps: list[float], mocker: MockerFixture, status: int | None
) -> None:
    if status:
        leadmagic_sandbox.fail_next("/bulk/jobs/*", status=status)
    close = mocker.spy(LeadMagicClient, "close")

    run_trigger(job_id)

    assert close.call_count == len(sleeps)


def test_each_poll_is_one_request(leadmagic_sandbox: Sandbox, job_id: str, sleeps: list[float]) -> None:
    leadmagic_sandbox.fail_next("/bulk/jobs/*", status=500, times=3)

    run_trigger(job_id)

    assert len(leadmagic_sandbox.requests_to("/bulk/jobs/*")) == 4


def test_it_retries_while_the_connection_cannot_be_read(
    job_id: str, sleeps: list[float], mocker: MockerFixture
) -> None:
    hook = LeadMagicHook("leadmagic_default", max_attempts=1)
    outage = RuntimeError("the secrets backend is down")
    mocker.patch.object(LeadMagicHook, "aget_conn", side_effect=[outage, outage, hook.get_conn()])

    assert job_from(run_trigger(job_id)).is_completed
    assert len(sleeps) == 3


def test_a_permanent_error_is_raised_again_in_the_task(
    leadmagic_sandbox: Sandbox, job_id: str, sleeps: list[float]
) -> None:
    leadmagic_sandbox.fail_next("/bulk/jobs/*", status=401)

    with pytest.raises(LeadMagicAuthenticationError):
        job_from(run_trigger(job_id))


@pytest.mark.parametrize("event", [None, {}, {"status": "seen"}, {"status": "seen", "job": 1}, {"status": "open"}])
def test_an_unexpected_event_is_an_error(event: Any) -> None:
    with pytest.raises(LeadMagicError, match=r"^Unexpected trigger event: "):
        job_from(event)
