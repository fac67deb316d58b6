"""Metrics of a running Airflow: the task process reports a sensor's first poll, the triggerer reports the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from dev.local_airflow import LocalAirflow, wait_until
from tests.support.airflow_home import HOME, REPOSITORY
from tests.support.listeners import Statsd

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.e2e


class LabeledAirflow(LocalAirflow):
    """Airflow whose components, and the processes they start, prefix their metrics with the component's name."""

    def start_component(self, name: str, arguments: list[str] | None = None) -> None:
        self.environment["AIRFLOW__METRICS__STATSD_PREFIX"] = name
        super().start_component(name, arguments)


@pytest.fixture(scope="module")
def account() -> Iterator[Sandbox]:
    with Sandbox(credits=50) as sandbox:
        sandbox.freeze(liquid=5)
        yield sandbox


@pytest.fixture(scope="module")
def statsd(account: Sandbox) -> Iterator[Statsd]:
    """Run a sensor that waits for credits, in an Airflow that sends its metrics to this listener."""
    with Statsd() as listener:
        settings = listener.settings | {
            "AIRFLOW_CONN_METERED": account.connection_json,
            "AIRFLOW__METRICS__METRICS_ALLOW_LIST": "leadmagic",
        }
        with LabeledAirflow(
            HOME / "metered-airflow", REPOSITORY / "tests" / "e2e" / "metered_dags", settings
        ) as airflow:
            airflow.wait_for_dag("metered_sensor")
            airflow.trigger("metered_sensor")
            yield listener


def wait_for(statsd: Statsd, *lines: str) -> None:
    wait_until(lambda: set(lines) <= set(statsd.lines), 60, f"{lines}; received: {statsd.lines}")


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
