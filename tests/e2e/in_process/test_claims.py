"""Sensors claim credits in ``dag.test()``, where no scheduler runs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from dev.local_airflow import IS_AIRFLOW_3, wait_until
from tests.e2e.in_process.conftest import run_dag

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from tests.e2e.in_process.conftest import Run

pytestmark = pytest.mark.e2e


def test_sensors_that_defer_or_are_mapped_claim_credits_in_a_test_run(dag_bag: Any, leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.set_credits(1)

    def top_up() -> None:
        wait_until(lambda: len(leadmagic_sandbox.requests_to("/v1/credits")) >= 3, 120, "a poll of the trigger")
        leadmagic_sandbox.set_credits(200)

    topping_up = threading.Thread(target=top_up)
    topping_up.start()
    run = run_dag(dag_bag.dags["claims"])
    topping_up.join()

    assert run.state == "success"
    assert run.xcom_of("waits")["spendable"] == 200
    if not IS_AIRFLOW_3:  # where a task of dag.test() is never running for Airflow, and claims nothing
        assert "claimed_by_others" not in run.xcom_of("waits")
        return
    assert run.xcom_of("waits")["claimed_by_others"] == 0
    # The claims of the mapped task group replace that of the upstream sensor, but not each other.
    assert of_both_indexes(run, "of_one_region.claim", "available") in ([200, 110], [100, 200])
    # They have ended with the task group. The two mapped sensors see only each other's claims.
    assert of_both_indexes(run, "mapped", "claimed_by_others") in ([0, 40], [60, 0])


def of_both_indexes(run: Run, task_id: str, field: str) -> list[Any]:
    """Return a field of the report of each mapped task. ``dag.test()`` runs these tasks in any order."""
    return [run.xcom_of(task_id, index)[field] for index in range(2)]
