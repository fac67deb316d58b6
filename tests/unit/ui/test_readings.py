"""Tests of what is read from LeadMagic: which requests, how often, and what happens if they fail."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from airflow_provider_leadmagic.ui import readings as module
from airflow_provider_leadmagic.ui.readings import AccountReadings
from dev.local_airflow import wait_until

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

CREDITS = "/v1/credits"
ADA = {"full_name": "Ada Example", "domain": "example.com"}


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now

    monotonic = time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", SimpleNamespace(time=clock.time, monotonic=clock.time))
    return clock


@pytest.fixture
def account(leadmagic_sandbox: Sandbox, clock: Clock) -> AccountReadings:
    return AccountReadings("leadmagic_default")


def requested(sandbox: Sandbox) -> list[str]:
    return [request.path for request in sandbox.requests]


def test_the_first_view_reads_balance_and_usage(account: AccountReadings, leadmagic_sandbox: Sandbox) -> None:
    readings = account.get()

    assert requested(leadmagic_sandbox) == [CREDITS, "/v1/analytics/usage"]
    assert readings["balance"].value.credits == 1000
    assert readings["usage"].value["summary"]["total_credits"] == 0
    assert "jobs" not in readings


def test_many_views_within_a_minute_send_no_further_request(
    account: AccountReadings, leadmagic_sandbox: Sandbox, clock: Clock
) -> None:
    for _ in range(50):
        account.get()
        clock.now += 59 / 50

    assert len(leadmagic_sandbox.requests) == 2


def test_each_minute_brings_the_balance_and_one_more_number(
    account: AccountReadings, leadmagic_sandbox: Sandbox, clock: Clock
) -> None:
    for _ in range(3):
        readings = account.get()
        clock.now += 60

    assert requested(leadmagic_sandbox)[2:] == [CREDITS, "/bulk/jobs", CREDITS, "/v1/analytics/products"]
    assert set(readings) == set(module.SOURCES)


@pytest.mark.parametrize("minutes", [1, 20, 600])
def test_after_any_pause_a_view_sends_two_requests_and_the_balance_is_one_of_them(
    account: AccountReadings, leadmagic_sandbox: Sandbox, clock: Clock, minutes: int
) -> None:
    for _ in range(3):
        account.get()
        clock.now += 60
    before = len(leadmagic_sandbox.requests)
    clock.now += 60 * minutes

    assert account.get()["balance"].read_at == clock.now
    assert len(leadmagic_sandbox.requests) == before + 2


def test_a_window_of_a_minute_never_has_more_than_two_requests(
    account: AccountReadings, leadmagic_sandbox: Sandbox, clock: Clock
) -> None:
    sent: list[float] = []
    for _ in range(400):
        before = len(leadmagic_sandbox.requests)
        account.get()
        sent += [clock.now] * (len(leadmagic_sandbox.requests) - before)
        clock.now += 7.3

    assert len(sent) > 60
    assert all(later - earlier >= 60 for earlier, later in zip(sent, sent[2:], strict=False))


def test_every_number_is_renewed_while_somebody_looks(
    account: AccountReadings, leadmagic_sandbox: Sandbox, clock: Clock
) -> None:
    for _ in range(40):
        readings = account.get()
        clock.now += 60

    ages = {name: clock.now - reading.read_at for name, reading in readings.items()}
    assert max(ages.values()) <= 17 * 60
    assert ages["balance"] <= 60
    assert ages["jobs"] <= 5 * 60


def test_a_failed_usage_is_repeated_with_the_next_balance(
    account: AccountReadings, leadmagic_sandbox: Sandbox, clock: Clock
) -> None:
    leadmagic_sandbox.fail_next("/v1/analytics/usage", status=503)
    for _ in range(4):
        readings = account.get()
        clock.now += 60

    assert readings["usage"].error is None


def test_no_request_is_sent_before_leadmagic_allows_it(
    account: AccountReadings, leadmagic_sandbox: Sandbox, clock: Clock
) -> None:
    leadmagic_sandbox.fail_next(CREDITS, status=429, retry_after=600)
    for _ in range(9):
        account.get()
        clock.now += 60

    assert len(leadmagic_sandbox.requests_to(CREDITS)) == 1


def test_jobs_are_read_with_one_request_even_if_leadmagic_has_more(
    account: AccountReadings, leadmagic_sandbox: Sandbox, clock: Clock
) -> None:
    for _ in range(201):
        leadmagic_sandbox.make_up_job(1)
    for _ in range(2):
        account.get()
        clock.now += 60

    assert len(leadmagic_sandbox.requests_to("/bulk/jobs")) == 1


def test_a_failure_is_kept_like_a_success(account: AccountReadings, leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.fail_next(CREDITS, status=503, times=None)

    for _ in range(10):
        readings = account.get()

    assert readings["balance"].value is None
    assert "503" in str(readings["balance"].error)
    assert len(leadmagic_sandbox.requests_to(CREDITS)) == 1


def test_a_balance_replaces_a_failure_after_a_minute(
    account: AccountReadings, leadmagic_sandbox: Sandbox, clock: Clock
) -> None:
    leadmagic_sandbox.fail_next(CREDITS, status=503)
    account.get()
    clock.now += 60

    assert account.get()["balance"].error is None


@pytest.mark.parametrize(
    ("connection", "message"),
    [
        (None, "Connection 'leadmagic_default' not found"),
        ('{"conn_type": "leadmagic"}', "Connection 'leadmagic_default' cannot be used"),
    ],
)
@pytest.mark.usefixtures("airflow_database")
def test_a_connection_that_cannot_be_used_is_explained(
    account: AccountReadings, monkeypatch: pytest.MonkeyPatch, connection: str | None, message: str
) -> None:
    name = "AIRFLOW_CONN_LEADMAGIC_DEFAULT"
    monkeypatch.delenv(name) if connection is None else monkeypatch.setenv(name, connection)

    assert str(account.get()["balance"].error).startswith(message)


@pytest.mark.parametrize("conn_type", ["aws", "http", "postgres"])
def test_the_password_of_another_service_is_not_sent(
    account: AccountReadings, leadmagic_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, conn_type: str
) -> None:
    other = {**json.loads(leadmagic_sandbox.connection_json), "conn_type": conn_type}
    monkeypatch.setenv("AIRFLOW_CONN_LEADMAGIC_DEFAULT", json.dumps(other))

    assert account.get()["balance"].error == (
        f"Connection 'leadmagic_default' has the type '{conn_type}': change it to 'leadmagic'."
    )
    assert leadmagic_sandbox.requests == []


def test_of_a_failure_in_the_secrets_backend_only_the_type_is_shown(
    account: AccountReadings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("postgresql://admin:a-password@db")

    monkeypatch.setattr(module.LeadMagicHook, "get_connection", fail)

    assert account.get()["balance"].error == (
        "Cannot read connection 'leadmagic_default' (RuntimeError): check the secrets backend."
    )


def test_finished_jobs_are_left_out(account: AccountReadings, leadmagic_sandbox: Sandbox, clock: Clock) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    with LeadMagicHook().get_conn() as client:
        running = client.bulk.submit("email_finder", [ADA], idempotency_key="key")
    leadmagic_sandbox.make_up_job(3)
    account.get()
    clock.now += 60

    assert [job.job_id for job in account.get()["jobs"].value] == [running.job_id]


def test_a_view_does_not_wait_for_the_request_of_another_view_if_there_are_numbers(
    account: AccountReadings, leadmagic_sandbox: Sandbox, clock: Clock
) -> None:
    first = account.get()["balance"]
    clock.now += 60
    leadmagic_sandbox.fail_next(CREDITS, delay=2)
    slow = threading.Thread(target=account.get, name="leadmagic")
    slow.start()
    wait_until(lambda: len(leadmagic_sandbox.requests_to(CREDITS)) == 2, 10, "the second request")

    assert account.get()["balance"] == first
    slow.join()
    assert account.get()["balance"] != first


def test_a_view_waits_only_a_moment_for_the_first_numbers_of_another_view(
    account: AccountReadings, leadmagic_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    leadmagic_sandbox.fail_next(CREDITS, delay=2)
    slow = threading.Thread(target=account.get, name="leadmagic")
    slow.start()
    wait_until(lambda: bool(leadmagic_sandbox.requests_to(CREDITS)), 10, "the first request")

    assert account.get() == {}
    slow.join()
