"""The claim of a task: its arguments, its pool, and its place in the DAG."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_leadmagic.claims.pool import (
    ClaimSettings,
    check_claim_arguments,
    check_pool,
    key_of,
    new_claim,
    spending_tasks,
    variable_key,
)
from airflow_provider_leadmagic.compat.imports import BaseOperator
from airflow_provider_leadmagic.compat.metadata import TaskKey
from airflow_provider_leadmagic.decisions.ledger import SpendingTask
from dev.local_airflow import IS_AIRFLOW_3

if IS_AIRFLOW_3:
    from airflow.sdk import DAG, task_group
else:
    from airflow.decorators import task_group
    from airflow.models.dag import DAG

KEY = TaskKey("night", "run", "sensor")


class Sensor(BaseOperator):
    leadmagic_conn_id = "lead"

    def __init__(self, number: int = 0, **arguments: Any) -> None:
        super().__init__(**arguments)


# Arguments


@pytest.mark.parametrize(
    "task_arguments",
    [
        {},
        {"pool": "leadmagic"},
        {"pool": "default_pool"},
        {"default_args": None},
        {"default_args": {"pool": "etl"}},
        {"default_args": {"pool": "etl"}, "pool": "etl"},  # how Airflow passes default_args on
        {"default_args": {"pool": "etl"}, "pool": "leadmagic"},
    ],
)
def test_a_task_that_claims_credits_runs_in_the_pool(task_arguments: dict[str, Any]) -> None:
    check_claim_arguments("leadmagic", 60, task_arguments)

    assert task_arguments["pool"] == "leadmagic"


@pytest.mark.parametrize("task_arguments", [{"pool": "etl"}, {"pool": "etl", "default_args": {"pool": "other"}}])
def test_another_pool_is_rejected(task_arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^pool must be left out or equal claim_pool 'leadmagic'; got 'etl'$"):
        check_claim_arguments("leadmagic", 60, task_arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", 60, {}), "claim_pool"),
        ((7, 60, {}), "claim_pool"),
        (("leadmagic", -1, {}), "claim_settle"),
        (("leadmagic", "60", {}), "claim_settle"),
        (("leadmagic", timedelta(seconds=-1), {}), "claim_settle"),
        (("leadmagic", 60, {}, "work"), "release_after must be a list of task IDs; got 'work'"),
        (("leadmagic", 60, {}, [7]), "release_after must be a list of task IDs"),
        ((None, 60, {}, ["work"]), "release_after needs claim_pool"),
    ],
)
def test_an_invalid_argument_is_named(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        check_claim_arguments(*arguments)


@pytest.mark.parametrize(
    ("pool", "key"),
    [
        ("leadmagic", "leadmagic_claims_leadmagic"),
        ("lead-magic.2_b", "leadmagic_claims_lead-magic.2_b"),
        ("x" * 200, f"leadmagic_claims_{'x' * 200}"),
    ],
)
def test_a_plain_name_is_part_of_the_key_unchanged(pool: str, key: str) -> None:
    assert variable_key(pool) == key


def test_names_that_are_invalid_in_a_url_get_different_keys() -> None:
    pools = ["a b", "a/b", "a_b", "a?b", "ä_b", "ö_b", "x" * 201, "x" * 202, "..", "%2F"]
    keys = {variable_key(pool) for pool in pools}

    assert len(keys) == len(pools)
    assert all(len(key) <= 250 and key.isascii() and not set(key) & set(" /?%#&") for key in keys)


# The pool of a running task


@pytest.mark.parametrize(("map_index", "expected"), [(-1, -1), (None, -1), (0, 0), (3, 3)])
def test_the_key_of_a_task_instance(map_index: int | None, expected: int) -> None:
    ti = SimpleNamespace(dag_id="night", run_id="run", task_id="sensor", map_index=map_index)

    assert key_of(ti) == TaskKey("night", "run", "sensor", expected)


@pytest.fixture
def chain() -> Callable[..., Any]:
    """Return a function that makes the tasks ``before >> sensor >> work >> report``, and returns ``sensor``."""

    def build(**arguments: Any) -> Any:
        with DAG("night", schedule=None):
            sensor = Sensor(task_id="sensor", **{"pool": "leadmagic", **arguments})
            BaseOperator(task_id="before") >> sensor >> BaseOperator(task_id="work") >> BaseOperator(task_id="report")
        return sensor

    return build


def test_a_task_in_the_pool_is_accepted(chain: Callable[..., Any]) -> None:
    check_pool(chain(), "leadmagic")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"pool": "default_pool"},
            "^pool must equal claim_pool 'leadmagic': add pool='leadmagic' to the task, or to its",
        ),
        ({"pool_slots": 2}, "^pool_slots must be 1 with claim_pool; got 2$"),
    ],
)
def test_a_task_that_does_not_occupy_the_slot_is_rejected(
    chain: Callable[..., Any], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_pool(chain(**arguments), "leadmagic")


def test_a_mapped_task_needs_the_pool_in_its_partial(chain: Callable[..., Any]) -> None:
    with DAG("night", schedule=None) as dag:
        Sensor.partial(task_id="sensor").expand(number=[1, 2])
        Sensor.partial(task_id="pooled", pool="leadmagic").expand(number=[1, 2])

    check_pool(dag.task_dict["pooled"], "leadmagic")
    with pytest.raises(ValueError, match="to its partial"):
        check_pool(dag.task_dict["sensor"], "leadmagic")


# The tasks that spend


def test_a_new_claim_has_the_values_of_its_task(chain: Callable[..., Any]) -> None:
    ti = SimpleNamespace(dag_id="night", run_id="run", task_id="sensor", map_index=-1, try_number=3)
    settings = ClaimSettings("leadmagic", 30.0, 300.0, ["work"])

    claim = new_claim(chain(priority_weight=7), ti, settings, Decimal(500), reserve=Decimal(9))

    assert (claim.task, claim.credits, claim.conn_id, claim.priority) == (KEY, 500, "lead", 7)
    assert (claim.patience, claim.settle, claim.reserve, claim.attempt) == (660.0, 30.0, 9, 3)
    assert (claim.spent_by, claim.replaces) == ((SpendingTask("work"),), (SpendingTask("before"),))


@pytest.mark.parametrize("names", [["work"], ["report"], ["work", "report"], []])
def test_downstream_tasks_can_end_a_claim(chain: Callable[..., Any], names: list[str]) -> None:
    assert spending_tasks(chain(), KEY, names) == tuple(SpendingTask(name) for name in names)


@pytest.mark.parametrize("name", ["before", "sensor", "missing"])
def test_other_tasks_cannot_end_a_claim(chain: Callable[..., Any], name: str) -> None:
    choice = r"\(one or more of 'report', 'work'\)"
    message = rf"^release_after must name tasks downstream of 'sensor' {choice}; got '{name}'$"

    with pytest.raises(ValueError, match=message):
        spending_tasks(chain(), KEY, [name])


def test_a_claim_ends_with_all_indexes_of_a_mapped_task() -> None:
    with DAG("night", schedule=None):
        sensor = Sensor(task_id="sensor")
        sensor >> Sensor.partial(task_id="work").expand(number=[1, 2])

    assert spending_tasks(sensor, KEY, ["work"]) == (SpendingTask("work"),)


def test_in_a_mapped_task_group_a_claim_ends_with_the_task_of_its_own_index() -> None:
    @task_group
    def batch(number: int) -> None:
        Sensor(task_id="sensor") >> BaseOperator(task_id="work")

    with DAG("night", schedule=None) as dag:
        batch.expand(number=[1, 2]) >> BaseOperator(task_id="report")

    sensor = dag.task_dict["batch.sensor"]
    key = KEY._replace(map_index=1)

    assert spending_tasks(sensor, key, ["batch.work", "report"]) == (
        SpendingTask("batch.work", 1),
        SpendingTask("report"),
    )


def test_in_a_mapped_task_group_only_the_claim_of_the_same_index_is_replaced() -> None:
    @task_group
    def batch(number: int) -> None:
        Sensor(task_id="first") >> Sensor(task_id="second", pool="leadmagic")

    with DAG("night", schedule=None) as dag:
        Sensor(task_id="before") >> batch.expand(number=[1, 2])
    ti = SimpleNamespace(dag_id="night", run_id="run", task_id="batch.second", map_index=1, try_number=1)

    claim = new_claim(dag.task_dict["batch.second"], ti, ClaimSettings("leadmagic", 30.0, 300.0), Decimal(500))

    assert claim.replaces == (SpendingTask("batch.first", 1), SpendingTask("before"))
