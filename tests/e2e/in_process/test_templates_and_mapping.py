"""Templates, XCom references, mapping, default arguments and notifiers work in a DAG run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.in_process.conftest import Run, run_dag

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

pytestmark = pytest.mark.e2e


@pytest.fixture
def run(dag_bag: Any, leadmagic_sandbox: Sandbox) -> Run:
    return run_dag(dag_bag.dags["templates_and_mapping"])


def test_sensors_and_checks_accept_templates_xcom_references_and_mapping(run: Run) -> None:
    assert run.state == "success"
    assert run.xcom_of("templated")["minimum_credits"] == 7
    assert run.xcom_of("from_xcom")["minimum_credits"] == 42
    assert [run.xcom_of("mapped", index)["minimum_credits"] for index in range(3)] == [1, 2, 3]
    assert run.xcom_of("mapped_check", 0, key="called") is None
    assert run.xcom_of("mapped_check", 1, key="called") == 1000
    assert run.xcom_of("templated_check")["minimum_credits"] == 7
    assert run.xcom_of("templated_check", key="called") == 1000
    assert run.xcom_of("templated_check", key="notified") == "only 1000 left"


def test_below_the_minimum_a_check_fails_skips_or_continues_and_always_pushes_its_report(
    dag_bag: Any, leadmagic_sandbox: Sandbox
) -> None:
    run = run_dag(dag_bag.dags["too_few_credits"])

    assert [run.state_of(choice) for choice in ("fail", "skip", "continue")] == ["failed", "skipped", "success"]
    for choice in ("fail", "skip", "continue"):
        report = run.xcom_of(choice)
        assert (report["spendable"], report["minimum_credits"], report["sufficient"]) == (1000, 5000, False)


def test_a_guard_without_a_value_fails_its_task_and_spends_nothing(dag_bag: Any, leadmagic_sandbox: Sandbox) -> None:
    run = run_dag(dag_bag.dags["guards_without_a_value"])

    failed = ["limit_is_none", "limit_was_skipped", "minimum_is_none", "sensor_minimum_is_none"]
    assert [run.state_of(task_id) for task_id in failed] == ["failed"] * 4
    assert [run.state_of(task_id, 0) for task_id in ("mapped", "mapped_by_kwargs", "group.mapped")] == ["failed"] * 3
    assert [run.state_of(task_id, 1) for task_id in ("mapped", "group.mapped")] == ["success"] * 2
    assert leadmagic_sandbox.bulk_jobs == []
