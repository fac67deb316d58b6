"""Requests to Airflow: to its database, and to the supervisor of a task or a triggerer."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from pytest_mock import MockerFixture
from sqlalchemy import insert

from airflow_provider_leadmagic.compat import metadata
from airflow_provider_leadmagic.compat.metadata import (
    RUNS_AT_A_TIME,
    Question,
    ReadActiveRuns,
    ReadTaskStates,
    ReadVariable,
    TaskKey,
    WriteVariable,
    aask,
    ask,
    ask_database,
)
from airflow_provider_leadmagic.exceptions import ClaimsError
from dev.local_airflow import IS_AIRFLOW_3

only_on_airflow_3 = pytest.mark.skipif(not IS_AIRFLOW_3, reason="in Airflow 2 tasks have access to the database")

Ask = Callable[[Question[Any]], Any]
VARIABLE = "leadmagic_claims_test"
#: Part of the message of a database or server error. It must not be shown.
CANARY = "postgresql://airflow:canary_7c1d@db"


def ask_in_triggerer(question: Question[Any]) -> Any:
    return asyncio.run(aask(question))


from_worker_and_triggerer = pytest.mark.parametrize("ask_airflow", [ask, ask_in_triggerer])


# The database


@pytest.fixture
def session(airflow_database: object) -> Iterator[Any]:
    """Return a session of the database. Others see its changes after ``commit()``. They are removed after the test."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session

    with create_session() as session:
        yield session
        session.rollback()
        for model in (TaskInstance, DagRun):
            session.query(model).filter(model.dag_id.in_(["claims_night", "claims_day"])).delete()
        session.query(Variable).filter(Variable.key == VARIABLE).delete()


@pytest.fixture
def add_run(session: Any) -> Callable[..., None]:
    """Return a function that adds a run and its tasks with their states; ``work__1`` is index 1 of ``work``."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance

    def add(run_id: str, state: str, dag_id: str = "claims_night", **tasks: str | None) -> None:
        time = {"run_after": datetime.now(UTC)} if IS_AIRFLOW_3 else {}
        session.add(DagRun(dag_id=dag_id, run_id=run_id, run_type="manual", state=state, **time))
        session.flush()
        for name, task_state in tasks.items():
            task_id, _, index = name.partition("__")
            key = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": int(index or -1)}
            session.execute(insert(TaskInstance).values(**key, state=task_state, pool="default_pool"))
        session.commit()

    return add


def test_a_missing_variable_is_none(session: Any) -> None:
    assert ask_database(ReadVariable(VARIABLE)) is None


def test_a_variable_is_created_and_replaced(session: Any) -> None:
    for text in ('{"version": 1}', "ä" * 100_000):
        ask_database(WriteVariable(VARIABLE, text, "Claims."))

        assert ask_database(ReadVariable(VARIABLE)) == text

    from airflow.models.variable import Variable

    [stored] = session.query(Variable).filter(Variable.key == VARIABLE)
    assert (stored.get_val(), stored.description) == (text, "Claims.")


def test_variables_from_the_environment_are_ignored(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"AIRFLOW_VAR_{VARIABLE.upper()}", "stale")

    assert ask_database(ReadVariable(VARIABLE)) is None


def test_the_database_returns_the_states_of_tasks(add_run: Callable[..., None]) -> None:
    add_run("a", "running", sensor="success", work__0="running", work__1=None, other="failed")
    add_run("b", "failed", sensor="deferred")
    add_run("c", "running", sensor="success")
    add_run("a", "running", dag_id="claims_day", sensor="failed")

    states = ask_database(ReadTaskStates("claims_night", ("a", "b", "missing"), ("sensor", "work", "missing")))

    assert states == {
        TaskKey("claims_night", "a", "sensor"): "success",
        TaskKey("claims_night", "a", "work", 0): "running",
        TaskKey("claims_night", "a", "work", 1): None,
        TaskKey("claims_night", "b", "sensor"): "deferred",
    }
    assert {type(state) for state in states.values()} == {str, type(None)}


def test_the_database_returns_which_runs_are_active(add_run: Callable[..., None]) -> None:
    for state in ("queued", "running", "success", "failed"):
        add_run(state, state)
    add_run("elsewhere", "running", dag_id="claims_day")

    runs = ("queued", "running", "success", "failed", "missing", "elsewhere")

    assert ask_database(ReadActiveRuns("claims_night", runs)) == {"queued", "running"}


@pytest.mark.parametrize("ask_airflow", [ask, ask_in_triggerer, ask_database])
def test_without_a_supervisor_the_database_is_queried(session: Any, mocker: MockerFixture, ask_airflow: Ask) -> None:
    mocker.patch.object(metadata, "_supervisor", return_value=None)
    ask_database(WriteVariable(VARIABLE, "text", "Claims."))

    assert ask_airflow(ReadVariable(VARIABLE)) == "text"


@pytest.mark.parametrize("ask_airflow", [ask, ask_in_triggerer, ask_database])
def test_an_outage_of_the_database_is_transient_and_its_message_is_not_shown(
    mocker: MockerFixture, ask_airflow: Ask
) -> None:
    mocker.patch.object(metadata, "_supervisor", return_value=None)
    mocker.patch("airflow.utils.session.create_session", side_effect=ConnectionError(CANARY))

    with pytest.raises(ClaimsError) as caught:
        ask_airflow(ReadVariable(VARIABLE))

    assert str(caught.value) == f"Cannot read the Variable {VARIABLE!r} (ConnectionError)"
    assert caught.value.transient


# The supervisor


@pytest.fixture
def converse(mocker: MockerFixture) -> Callable[..., list[Any]]:
    """Return a function that replaces the supervisor of Airflow 3; the end-to-end tests use a real one."""

    def respond_with(respond: Callable[[Any], Any]) -> list[Any]:
        requests: list[Any] = []

        def send(request: Any) -> Any:
            requests.append(request)
            response = respond(request)
            if isinstance(response, Exception):
                raise response
            return response

        comms = mocker.patch("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", create=True)
        comms.send = send
        comms.asend = AsyncMock(side_effect=send)
        return requests

    return respond_with


def error_response(name: str, detail: dict[str, Any] | None = None) -> Any:
    from airflow.sdk.execution_time.comms import ErrorResponse

    return ErrorResponse.model_construct(error=type("Error", (), {"name": name, "value": name})(), detail=detail)


def raised(response: Any) -> Exception:
    """Return the error in which the supervisor of a real task wraps its error responses."""
    error = RuntimeError(f"{response.error.name}: {response.detail}")
    error.error = response  # type: ignore[attr-defined]
    return error


@only_on_airflow_3
@from_worker_and_triggerer
def test_a_variable_is_read_from_the_supervisor(converse: Callable[..., list[Any]], ask_airflow: Ask) -> None:
    from airflow.sdk.execution_time.comms import GetVariable, VariableResult

    requests = converse(lambda _: VariableResult(key=VARIABLE, value="text"))

    assert ask_airflow(ReadVariable(VARIABLE)) == "text"
    assert requests == [GetVariable(key=VARIABLE)]


@only_on_airflow_3
@from_worker_and_triggerer
@pytest.mark.parametrize("wrap", [raised, lambda response: response], ids=["raised", "returned"])
def test_a_variable_that_the_supervisor_does_not_find_is_none(
    converse: Callable[..., list[Any]], ask_airflow: Ask, wrap: Callable[[Any], Any]
) -> None:
    converse(lambda _: wrap(error_response("VARIABLE_NOT_FOUND", {"key": VARIABLE})))

    assert ask_airflow(ReadVariable(VARIABLE)) is None


@only_on_airflow_3
@from_worker_and_triggerer
def test_a_variable_is_written_by_the_supervisor(converse: Callable[..., list[Any]], ask_airflow: Ask) -> None:
    from airflow.sdk.execution_time.comms import PutVariable

    requests = converse(lambda _: None)

    assert ask_airflow(WriteVariable(VARIABLE, "text", "Claims.")) is None
    assert requests == [PutVariable(key=VARIABLE, value="text", description="Claims.")]


@only_on_airflow_3
@from_worker_and_triggerer
def test_map_indexes_are_parsed_from_the_names_that_the_supervisor_returns(
    converse: Callable[..., list[Any]], ask_airflow: Ask
) -> None:
    from airflow.sdk.execution_time.comms import TaskStatesResult

    states = {"sensor": "success", "work_0": "running", "work_12": None, "step_2": "failed", "step_2_1": "queued"}
    requests = converse(lambda _: TaskStatesResult(task_states={"a": states}))

    found = ask_airflow(ReadTaskStates("night", ("a", "b"), ("sensor", "work", "step_2")))

    assert found == {
        TaskKey("night", "a", "sensor"): "success",
        TaskKey("night", "a", "work", 0): "running",
        TaskKey("night", "a", "work", 12): None,
        TaskKey("night", "a", "step_2"): "failed",
        TaskKey("night", "a", "step_2", 1): "queued",
    }
    [request] = requests
    assert (request.dag_id, request.run_ids, request.map_index) == ("night", ["a", "b"], None)
    assert request.task_ids == ["sensor", "work", "step_2"]


RUNS = tuple(f"run_{number:03}" for number in range(2 * RUNS_AT_A_TIME + 1))


@only_on_airflow_3
@from_worker_and_triggerer
def test_states_are_requested_for_fifty_runs_at_a_time(converse: Callable[..., list[Any]], ask_airflow: Ask) -> None:
    from airflow.sdk.execution_time.comms import TaskStatesResult

    requests = converse(lambda r: TaskStatesResult(task_states={run: {"sensor": "success"} for run in r.run_ids}))

    found = ask_airflow(ReadTaskStates("night", RUNS, ("sensor",)))

    assert sorted(key.run_id for key in found) == list(RUNS)
    assert [len(request.run_ids) for request in requests] == [50, 50, 1]


@only_on_airflow_3
@from_worker_and_triggerer
@pytest.mark.parametrize(
    ("runs", "active", "most_requests"),
    [
        (RUNS[:1], set(), 1),
        (RUNS[:1], {"run_000"}, 1),
        (RUNS[:50], set(RUNS), 1),
        (RUNS[:50], set(), 1),
        (RUNS, set(RUNS), 3),
        (RUNS[:50], set(RUNS) - {"run_017"}, 13),
        (RUNS[:7], {"run_000", "run_006"}, 13),
        ((), set(RUNS), 0),
    ],
)
def test_active_runs_are_found_by_counting_halves(
    converse: Callable[..., list[Any]], ask_airflow: Ask, runs: tuple[str, ...], active: set[str], most_requests: int
) -> None:
    from airflow.sdk.execution_time.comms import DRCount

    requests = converse(lambda request: DRCount(count=len(active.intersection(request.run_ids))))

    assert ask_airflow(ReadActiveRuns("night", runs)) == active.intersection(runs)
    assert len(requests) <= most_requests
    assert all(sorted(request.states) == ["queued", "running"] for request in requests)


FORBIDDEN = {"status_code": 403, "message": CANARY}
QUESTIONS = [
    (ReadVariable(VARIABLE), f"Cannot read the Variable {VARIABLE!r}"),
    (WriteVariable(VARIABLE, "text", "Claims."), f"Cannot write the Variable {VARIABLE!r}"),
    (ReadTaskStates("night", ("run",), ("sensor",)), "Cannot read the task states of DAG 'night'"),
    (ReadActiveRuns("night", ("run",)), "Cannot read the runs of DAG 'night'"),
]


@only_on_airflow_3
@from_worker_and_triggerer
@pytest.mark.parametrize(("question", "beginning"), QUESTIONS)
@pytest.mark.parametrize("wrap", [raised, lambda response: response], ids=["raised", "returned"])
@pytest.mark.parametrize(
    ("name", "detail", "reason", "is_transient"),
    [
        ("API_SERVER_ERROR", {"status_code": 500, "message": CANARY}, "API_SERVER_ERROR 500", True),
        ("GENERIC_ERROR", None, "GENERIC_ERROR", True),
        ("API_SERVER_ERROR", FORBIDDEN, "access denied: API_SERVER_ERROR 403", False),
        ("API_SERVER_ERROR", {"status_code": 401}, "access denied: API_SERVER_ERROR 401", False),
        ("PERMISSION_DENIED", {"key": CANARY}, "access denied: PERMISSION_DENIED", False),
    ],
)
def test_an_error_of_the_supervisor_is_transient_unless_access_is_denied(
    converse: Callable[..., list[Any]],
    ask_airflow: Ask,
    question: Question[Any],
    beginning: str,
    wrap: Callable[[Any], Any],
    name: str,
    detail: dict[str, Any] | None,
    reason: str,
    is_transient: bool,
) -> None:
    converse(lambda _: wrap(error_response(name, detail)))

    with pytest.raises(ClaimsError) as caught:
        ask_airflow(question)

    assert str(caught.value) == f"{beginning} ({reason})"
    assert caught.value.transient == is_transient


@only_on_airflow_3
@from_worker_and_triggerer
@pytest.mark.parametrize(
    "respond",
    [lambda _: ConnectionError(CANARY), lambda _: object()],
    ids=["no connection", "a response of another kind"],
)
def test_an_outage_of_the_supervisor_is_transient_and_its_message_is_not_shown(
    converse: Callable[..., list[Any]], ask_airflow: Ask, respond: Callable[[Any], Any]
) -> None:
    converse(respond)

    with pytest.raises(ClaimsError, match=r"^Cannot read the task states of DAG 'night' \(\w+\)$") as caught:
        ask_airflow(ReadTaskStates("night", ("run",), ("sensor",)))

    assert caught.value.transient


def test_a_worker_of_airflow_2_has_no_supervisor(mocker: MockerFixture) -> None:
    mocker.patch.object(metadata, "find_spec", return_value=None)
    imported = set(sys.modules)

    assert metadata._supervisor() is None
    assert set(sys.modules) == imported


@only_on_airflow_3
def test_a_map_index_is_not_confused_with_a_task_id_that_ends_with_the_same_number(mocker: MockerFixture) -> None:
    states = {TaskKey("dag", "run", "claim", 0): "success", TaskKey("dag", "run", "claim_0"): "failed"}
    supervisor = mocker.patch("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", create=True)
    supervisor.send.side_effect = lambda message: response_of_airflow(states, message)

    assert ask(ReadTaskStates("dag", ("run",), ("claim", "claim_0"))) == states


def response_of_airflow(states: dict[TaskKey, str], message: Any) -> Any:
    """Respond as Airflow does, which appends the index of a mapped task to its ID."""
    by_run: dict[str, dict[str, str]] = {}
    for task, state in states.items():
        if task.run_id in message.run_ids and task.task_id in message.task_ids:
            name = task.task_id if task.map_index < 0 else f"{task.task_id}_{task.map_index}"
            by_run.setdefault(task.run_id, {})[name] = state
    return SimpleNamespace(task_states=by_run, error=None)
