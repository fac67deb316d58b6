"""Which process of a running Airflow reports what: a gate's first look is the task's, the others the triggerer's."""

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


class SignedAirflow(LocalAirflow):
    """Every component signs its metrics with its name, and so do the processes it starts."""

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
    """Run a gate in Airflow, which waits for credits."""
    with Statsd() as listener:
        settings = listener.settings | {
            "AIRFLOW_CONN_METERED": account.connection_json,
            "AIRFLOW__METRICS__METRICS_ALLOW_LIST": "leadmagic",
        }
        with SignedAirflow(
            HOME / "metered-airflow", REPOSITORY / "tests" / "e2e" / "metered_dags", settings
        ) as airflow:
            airflow.wait_for_dag("metered_gate")
            airflow.trigger("metered_gate")
            yield listener


def wait_for(statsd: Statsd, *lines: str) -> None:
    wait_until(lambda: set(lines) <= set(statsd.lines), 60, f"{lines}; what arrived is {statsd.lines}")


def test_the_first_look_of_a_gate_is_reported_by_the_process_of_its_task(statsd: Statsd) -> None:
    wait_for(
        statsd,
        "scheduler.leadmagic.credits,conn_id=metered:50.0|g",
        "scheduler.leadmagic.credits_spendable,conn_id=metered:5.0|g",
    )


def test_the_looks_of_a_deferred_gate_are_reported_by_the_triggerer(statsd: Statsd) -> None:
    wait_for(
        statsd,
        "triggerer.leadmagic.credits,conn_id=metered:50.0|g",
        "triggerer.leadmagic.credits_spendable,conn_id=metered:5.0|g",
    )


def test_a_failed_look_of_a_deferred_gate_is_reported_by_the_triggerer(statsd: Statsd, account: Sandbox) -> None:
    account.fail_next(status=503)

    wait_for(statsd, "triggerer.leadmagic.failed_polls,conn_id=metered,error=LeadMagicServerError:1|c")


def test_the_balance_that_opens_the_gate_is_reported_too(statsd: Statsd, account: Sandbox) -> None:
    account.add_credits(450)
    account.unfreeze()

    wait_for(statsd, "triggerer.leadmagic.credits_spendable,conn_id=metered:500.0|g")
