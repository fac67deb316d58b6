"""The triggers of bulk jobs: their serialization, their polling schedule, and the errors they tolerate."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.models.trigger import Trigger

from airflow_provider_leadmagic.bulk.progress import job_from
from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.exceptions import LeadMagicAuthenticationError, LeadMagicError
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from airflow_provider_leadmagic.triggers.bulk import BulkJobTrigger, PausedBulkJobTrigger
from airflow_provider_leadmagic.triggers.credits import SufficientCreditsTrigger
from tests.support.sensor_runner import first_event

if TYPE_CHECKING:
    from pytest_mock import MockerFixture

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

JOB_TRIGGER = BulkJobTrigger("leadmagic_default", "job-1", 60, 1234.5, report_pause=False, not_before=7.5)
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
    """Make the triggers' sleeps return at once, and return the list of their durations."""
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


def test_it_sleeps_an_interval_before_each_poll(leadmagic_sandbox: Sandbox, job_id: str, sleeps: list[float]) -> None:
    leadmagic_sandbox.fail_next("/bulk/jobs/*", status=503)

    assert job_from(run_trigger(job_id)).is_completed
    assert sleeps == [60, 60]


def test_it_sleeps_for_the_requested_retry_after(leadmagic_sandbox: Sandbox, job_id: str, sleeps: list[float]) -> None:
    leadmagic_sandbox.fail_next("/bulk/jobs/*", retry_after=300)

    run_trigger(job_id)

    assert sleeps == [60, 300]


def test_it_does_not_poll_before_not_before(
    leadmagic_sandbox: Sandbox, job_id: str, sleeps: list[float], mocker: MockerFixture
) -> None:
    mocker.patch("airflow_provider_leadmagic.triggers.bulk.time.time", return_value=1000.0)

    run_trigger(job_id, not_before=1090.0)

    assert sleeps == [90]


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
