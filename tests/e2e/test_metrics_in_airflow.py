"""Metrics of a running Airflow: the task process reports a sensor's first poll, the triggerer reports the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dev.local_airflow import wait_until

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from dev.local_airflow import LocalAirflow
    from tests.support.listeners import Statsd

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def account(accounts: dict[str, Sandbox]) -> Sandbox:
    account = accounts["metered"]
    account.freeze(liquid=5)
    return account


@pytest.fixture(scope="module", autouse=True)
def _waiting_sensor(airflow: LocalAirflow, statsd: Statsd, account: Sandbox) -> None:
    """Run a sensor that waits for credits."""
    airflow.wait_for_dag("metered_sensor")
    assert statsd.lines is not None  # read what has arrived before: the buffer of the socket is small
    airflow.trigger("metered_sensor")


def wait_for(statsd: Statsd, *lines: str) -> None:
    wait_until(lambda: set(lines) <= set(statsd.lines), 90, f"{lines}; received: {statsd.lines}")


def test_the_first_poll_of_a_sensor_is_reported_by_its_task_process(statsd: Statsd) -> None:
    wait_for(
        statsd,
        "scheduler.leadmagic.credits,conn_id=metered:50.0|g",
        "scheduler.leadmagic.credits_spendable,conn_id=metered:5.0|g",
    )


def test_the_polls_of_a_deferred_sensor_are_reported_by_the_triggerer(statsd: Statsd) -> None:
    wait_for(
        statsd,
        "triggerer.leadmagic.credits,conn_id=metered:50.0|g",
        "triggerer.leadmagic.credits_spendable,conn_id=metered:5.0|g",
    )


def test_a_failed_poll_of_a_deferred_sensor_is_reported_by_the_triggerer(statsd: Statsd, account: Sandbox) -> None:
    account.fail_next(status=503)

    wait_for(statsd, "triggerer.leadmagic.failed_polls,conn_id=metered,error=LeadMagicServerError:1|c")


def test_the_balance_that_makes_the_sensor_succeed_is_reported(statsd: Statsd, account: Sandbox) -> None:
    account.add_credits(450)
    account.unfreeze()

    wait_for(statsd, "triggerer.leadmagic.credits_spendable,conn_id=metered:500.0|g")
