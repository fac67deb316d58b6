"""A guard that is given and has no value when the task runs is an error: without its guard, a task must not run."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.compat.imports import BaseOperator
from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator
from airflow_provider_leadmagic.operators.credits import CheckCreditsOperator
from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor
from tests.support.airflow_names import DAG
from tests.support.bulk_task_runner import DagRun
from tests.support.sensor_runner import TaskInstance
from tests.unit.operators.conftest import leads

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox


class RenderedTask(TaskInstance):
    """A task instance whose upstream task returned nothing, because it returned None or was skipped."""

    try_number = 1

    def __init__(self, task: Any) -> None:
        super().__init__()
        self.task = task

    def xcom_pull(self, **_: Any) -> Any:
        return None

    def get_relevant_upstream_map_indexes(self, *_: Any, **__: Any) -> None:
        return None


GUARDS = {
    "max_credits": (BulkEnrichmentOperator, "credits"),
    "minimum_balance_after": (BulkEnrichmentOperator, "credits"),
    "minimum_credits": (CheckCreditsOperator, "credits"),
    "warn_below": (CheckCreditsOperator, "credits"),
    "minimum_runway_days": (CheckCreditsOperator, "days"),
    "minimum_credits of the sensor": (SufficientCreditsSensor, "credits"),
}


class LimitedEnrichment(BulkEnrichmentOperator):
    """An operator of a user, which passes its own default on."""

    def __init__(self, *, max_credits: Any = None, **arguments: Any) -> None:
        super().__init__(max_credits=max_credits, **arguments)


class PassesOn(BulkEnrichmentOperator):
    """An operator of a user, which passes an argument of its own on."""

    def __init__(self, *, limit: Any = None, **arguments: Any) -> None:
        super().__init__(max_credits=limit, **arguments)


class Derives(BulkEnrichmentOperator):
    """An operator of a user, which derives the limit from an argument of its own."""

    def __init__(self, *, limit: Any = None, **arguments: Any) -> None:
        super().__init__(max_credits={"small": 5}.get(limit), **arguments)


class Assigns(BulkEnrichmentOperator):
    """An operator of a user, which sets the limit later."""

    def __init__(self, *, limit: Any = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.max_credits = limit


class ChecksThree(CheckCreditsOperator):
    """An operator of a user, which passes an argument of its own on as each threshold."""

    def __init__(self, *, limit: Any = None, **arguments: Any) -> None:
        super().__init__(minimum_credits=limit, warn_below=limit, minimum_runway_days=limit, **arguments)


@pytest.fixture(params=GUARDS)
def guard(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    """Return the arguments that every bulk enrichment needs."""
    return {"task_id": "enrich", "product": "email_finder", "rows": leads(3), "output_path": str(tmp_path / "out.csv")}


def execute(operator: Any, **context: Any) -> Any:
    context = {"ti": RenderedTask(operator), "dag_run": DagRun(), "params": {"nothing": None}, **context}
    context["expanded_ti_count"] = None
    operator.render_template_fields(context)
    return operator.execute(context)


@pytest.fixture
def fails(guard: str, arguments: dict[str, Any], leadmagic_sandbox: Sandbox) -> Any:
    """Return a function that runs the guard's operator with a value, and checks that it fails before any request."""
    operator_class, unit = GUARDS[guard]
    name = guard.partition(" ")[0]
    required = arguments if operator_class is BulkEnrichmentOperator else {"task_id": "check"}
    if operator_class is SufficientCreditsSensor:
        required["mode"] = "poke"  # Airflow 2.11 would read the first reschedule from its database

    def check(value: Any, got: str, *, native: bool = False) -> None:
        with DAG("guards", schedule=None, render_template_as_native_obj=native):
            given = BaseOperator(task_id="limit").output if value == "XCom" else value
            operator = operator_class(**required, **{name: given})
        with pytest.raises(ValueError, match=f"^{name} must be a number of {unit}, 0 or more; got {got}"):
            execute(operator)
        assert leadmagic_sandbox.requests == []

    return check


@pytest.mark.parametrize("native", [False, True], ids=["text", "native"])
def test_an_upstream_task_that_returned_nothing_is_an_error(fails: Any, native: bool) -> None:
    fails("XCom", "None", native=native)


@pytest.mark.parametrize("value", ["{{ none }}", "{{ params.nothing }}", "{{ '' }}", "null", " "])
def test_a_template_that_renders_as_nothing_is_an_error(fails: Any, value: str) -> None:
    fails(value, "'(|None|null| )'")


@pytest.mark.parametrize("value", ["{{ none }}", "{{ params.nothing }}", "{{ 'None' }}", "null"])
def test_a_native_template_that_renders_as_nothing_is_an_error(fails: Any, value: str) -> None:
    fails(value, "(None|'null')", native=True)


def unmapped(operator_class: Any, partial: dict[str, Any], expanded: dict[str, Any], *, by_kwargs: bool) -> Any:
    """Map an operator, and return the operator that Airflow creates for one map index."""
    with DAG("guards", schedule=None):
        mapped = operator_class.partial(**partial)
        if by_kwargs:
            return mapped.expand_kwargs([expanded]).unmap(expanded)
        return mapped.expand(**{name: [value] for name, value in expanded.items()}).unmap(expanded)


@pytest.mark.parametrize("by_kwargs", [False, True], ids=["expand", "expand_kwargs"])
@pytest.mark.parametrize("name", ["minimum_credits", "warn_below", "minimum_runway_days"])
def test_a_threshold_that_a_mapped_check_gets_as_none_is_an_error(
    leadmagic_sandbox: Sandbox, name: str, by_kwargs: bool
) -> None:
    operator = unmapped(CheckCreditsOperator, {"task_id": "check"}, {name: None}, by_kwargs=by_kwargs)

    with pytest.raises(
        ValueError, match=f"^{name} must be a number of .*; got None: the value comes from a template or"
    ):
        execute(operator)
    assert leadmagic_sandbox.requests == []


@pytest.mark.parametrize("by_kwargs", [False, True], ids=["expand", "expand_kwargs"])
def test_a_limit_that_a_mapped_enrichment_gets_as_none_is_an_error(
    arguments: dict[str, Any], leadmagic_sandbox: Sandbox, by_kwargs: bool
) -> None:
    operator = unmapped(BulkEnrichmentOperator, arguments, {"max_credits": None}, by_kwargs=by_kwargs)

    with pytest.raises(ValueError, match=r"^max_credits must be a number of credits, 0 or more; got None: "):
        execute(operator)
    assert leadmagic_sandbox.requests == []


@pytest.mark.parametrize("by_kwargs", [False, True], ids=["expand", "expand_kwargs"])
@pytest.mark.parametrize("operator_class", [PassesOn, Derives, Assigns, ChecksThree])
def test_a_limit_that_a_mapped_subclass_gets_as_none_under_another_name_is_an_error(
    arguments: dict[str, Any], leadmagic_sandbox: Sandbox, operator_class: Any, by_kwargs: bool
) -> None:
    partial = {"task_id": "check"} if operator_class is ChecksThree else arguments
    operator = unmapped(operator_class, partial, {"limit": None}, by_kwargs=by_kwargs)

    with pytest.raises(ValueError, match=r"^(max|minimum)_credits must be a number of credits, 0 or more; got None: "):
        execute(operator)
    assert leadmagic_sandbox.requests == []


def test_a_limit_that_a_subclass_sets_later_and_that_resolves_to_none_is_an_error(
    arguments: dict[str, Any], leadmagic_sandbox: Sandbox
) -> None:
    with DAG("guards", schedule=None):
        operator = Assigns(limit=BaseOperator(task_id="limit").output, **arguments)

    with pytest.raises(ValueError, match=r"^max_credits must be a number of credits, 0 or more; got None: "):
        execute(copy.deepcopy(operator))
    assert leadmagic_sandbox.requests == []


@pytest.mark.parametrize(
    ("operator_class", "argument"),
    [
        (BulkEnrichmentOperator, "max_credits"),
        (LimitedEnrichment, "max_credits"),
        (PassesOn, "limit"),
        (Assigns, "limit"),
    ],
)
@pytest.mark.parametrize("is_none", [False, True], ids=["no limit", "None in the DAG file"])
@pytest.mark.parametrize("by_kwargs", [None, False, True], ids=["not mapped", "expand", "expand_kwargs"])
def test_an_enrichment_without_a_limit_is_not_limited(
    arguments: dict[str, Any],
    leadmagic_sandbox: Sandbox,
    operator_class: Any,
    argument: str,
    is_none: bool,
    by_kwargs: bool | None,
) -> None:
    limit = {argument: None} if is_none else {}
    if by_kwargs is None:
        operator = operator_class(**arguments, **limit)
    else:
        path = arguments.pop("output_path")
        operator = unmapped(operator_class, {**arguments, **limit}, {"output_path": path}, by_kwargs=by_kwargs)

    assert operator.max_credits is None
    assert execute(operator)["total_rows"] == 3
