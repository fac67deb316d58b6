"""
Read Variables, task states and active runs from Airflow in any of its processes, and write Variables.

On Airflow 3, tasks and triggers send messages to their supervisor. The public interface, ``Variable.get``, is not used,
because it reports an outage of the API server as a missing Variable. On Airflow 2, and in processes without a
supervisor, the database is queried. Pools, and the list of Variables, can be read from the database only.
"""

from __future__ import annotations

from collections.abc import Generator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, cast

from airflow_provider_leadmagic.compat.deferral import in_thread, leave_running_if_cancelled
from airflow_provider_leadmagic.exceptions import ClaimsError

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

#: Sends messages to the supervisor and receives its responses.
Conversation = Generator[Any, Any, T]

#: Maximum number of run IDs in one request: the supervisor sends them in the query string of a URL.
RUNS_AT_A_TIME = 50
#: States of a run that can still start tasks.
_ACTIVE_STATES = ["queued", "running"]


class TaskKey(NamedTuple):
    """Identifies a task instance. ``map_index`` is -1 if the task is not mapped."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1


class DatabaseQuestion(Protocol[T_co]):
    """A request to Airflow that is sent to the database."""

    def query(self) -> T_co:
        """Send the request to the database, and return the result."""


class Question(DatabaseQuestion[T_co], Protocol[T_co]):
    """A request to Airflow that can also be sent to the supervisor."""

    def converse(self) -> Conversation[T_co]:
        """Yield messages to the supervisor, receive its responses, and return the result."""


class ReadVariable(NamedTuple):
    """Read the text of a Variable from Airflow's database; None if it does not exist."""

    key: str

    def converse(self) -> Conversation[str | None]:
        from airflow.sdk.execution_time.comms import GetVariable

        response = yield GetVariable(key=self.key)
        return None if response is None else str(response.value)

    def query(self) -> str | None:
        from airflow.models.variable import Variable
        from airflow.utils.session import create_session

        with create_session() as session:
            found: Any = session.query(Variable).filter(Variable.key == self.key).first()
            return None if found is None else str(found.get_val())


class WriteVariable(NamedTuple):
    """Create or replace a Variable in Airflow's database."""

    key: str
    value: str
    description: str

    def converse(self) -> Conversation[None]:
        from airflow.sdk.execution_time.comms import PutVariable

        yield PutVariable(key=self.key, value=self.value, description=self.description)

    def query(self) -> None:
        from airflow.models import variable
        from airflow.utils.session import create_session

        model: Any = variable.Variable
        with create_session() as session:
            found = session.query(model).filter(model.key == self.key).first()
            if found is None:
                session.add(model(key=self.key, val=self.value, description=self.description))
            else:
                found.set_val(self.value)


class ReadVariables(NamedTuple):
    """Read the texts of all Variables in Airflow's database whose keys start with a prefix, by key."""

    prefix: str

    def query(self) -> dict[str, str]:
        from airflow.models.variable import Variable
        from airflow.utils.session import create_session

        with create_session() as session:
            found: Any = session.query(Variable).filter(Variable.key.startswith(self.prefix, autoescape=True))
            return {str(row.key): str(row.get_val()) for row in found.order_by(Variable.key)}


class PoolSettings(NamedTuple):
    """Settings of an Airflow pool."""

    slots: int
    includes_deferred: bool
    description: str | None


class ReadPool(NamedTuple):
    """Read the settings of a pool; None if it does not exist."""

    name: str

    def query(self) -> PoolSettings | None:
        from airflow.models.pool import Pool
        from airflow.utils.session import create_session

        with create_session() as session:
            found: Any = session.query(Pool).filter(Pool.pool == self.name).first()
            return found and PoolSettings(found.slots, found.include_deferred, found.description)


class ReadTaskStates(NamedTuple):
    """Read the states of the named tasks in some runs of a DAG. Tasks without a task instance are missing."""

    dag_id: str
    run_ids: tuple[str, ...]
    task_ids: tuple[str, ...]

    def converse(self) -> Conversation[dict[TaskKey, str | None]]:
        from airflow.sdk.execution_time.comms import GetTaskStates

        found: dict[TaskKey, str | None] = {}
        for task_ids in self._unambiguous_task_ids():
            for run_ids in _portions(self.run_ids):
                response = yield GetTaskStates(dag_id=self.dag_id, run_ids=run_ids, task_ids=task_ids)
                for run_id, states in response.task_states.items():
                    found |= {self._key(run_id, name, task_ids): _text(state) for name, state in states.items()}
        return found

    def query(self) -> dict[TaskKey, str | None]:
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session

        columns = (TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index, TaskInstance.state)
        with create_session() as session:
            # Airflow 3.4 keeps a row for each attempt. Queries of the model see only the latest.
            rows = session.query(*columns).filter(
                TaskInstance.dag_id == self.dag_id,
                TaskInstance.run_id.in_(self.run_ids),
                TaskInstance.task_id.in_(self.task_ids),
            )
            return {TaskKey(self.dag_id, run, task, index): _text(state) for run, task, index, state in rows}

    def _unambiguous_task_ids(self) -> list[list[str]]:
        # The supervisor appends the index of a mapped task to its ID. In one response, index 1 of "a" and a task "a_1"
        # would have the same name, so such a task is requested alone.
        split = (name.rpartition("_") for name in self.task_ids)
        alone = [f"{task_id}_{index}" for task_id, _, index in split if task_id in self.task_ids and index.isdigit()]
        return [[name for name in self.task_ids if name not in alone], *([name] for name in alone)]

    def _key(self, run_id: str, name: str, task_ids: list[str]) -> TaskKey:
        task_id, _, index = name.rpartition("_")
        if name in task_ids or task_id not in task_ids:
            return TaskKey(self.dag_id, run_id, name)
        return TaskKey(self.dag_id, run_id, task_id, int(index))


class ReadActiveRuns(NamedTuple):
    """Return which runs of a DAG are queued or running."""

    dag_id: str
    run_ids: tuple[str, ...]

    def converse(self) -> Conversation[frozenset[str]]:
        found: set[str] = set()
        for run_ids in _portions(self.run_ids):
            found |= yield from self._active(run_ids)
        return frozenset(found)

    def _active(self, run_ids: list[str]) -> Conversation[set[str]]:
        # The supervisor returns the number of active runs, not their IDs. One request is enough if every run is
        # active, the usual case, or if none is.
        from airflow.sdk.execution_time.comms import GetDRCount

        response = yield GetDRCount(dag_id=self.dag_id, run_ids=run_ids, states=_ACTIVE_STATES)
        if response.count in (0, len(run_ids)):
            return set(run_ids) if response.count else set()
        middle = len(run_ids) // 2
        return (yield from self._active(run_ids[:middle])) | (yield from self._active(run_ids[middle:]))

    def query(self) -> frozenset[str]:
        from airflow.models.dagrun import DagRun
        from airflow.utils.session import create_session

        with create_session() as session:
            rows = session.query(DagRun.run_id).filter(
                DagRun.dag_id == self.dag_id, DagRun.run_id.in_(self.run_ids), DagRun.state.in_(_ACTIVE_STATES)
            )
            return frozenset(run_id for (run_id,) in rows)


def ask(question: Question[T]) -> T:
    """
    Send a request to Airflow from a task.

    :param question: The request.
    :raises ClaimsError: If Airflow does not respond, or denies access.
    """
    supervisor = _supervisor()
    if supervisor is None:
        return ask_database(question)
    conversation = question.converse()
    try:
        message = next(conversation)
        while True:
            try:
                response = supervisor.send(message)
            except Exception as error:
                response = _error_response(error)
            message = conversation.send(_checked(response))
    except StopIteration as end:
        return cast("T", end.value)
    except Exception as error:
        raise _failed(question, error) from error


async def aask(question: Question[T]) -> T:
    """
    Send a request to Airflow from a trigger, without blocking the triggerer.

    :param question: The request.
    :raises ClaimsError: If Airflow does not respond, or denies access.
    """
    supervisor = _supervisor()
    if not hasattr(supervisor, "asend"):  # Airflow 2, or a trigger that runs in dag.test()
        return await in_thread(ask, question)
    return await leave_running_if_cancelled(_ask_supervisor(question, supervisor))


async def _ask_supervisor(question: Question[T], supervisor: Any) -> T:
    conversation = question.converse()
    try:
        message = next(conversation)
        while True:
            try:
                response = await supervisor.asend(message)
            except Exception as error:
                response = _error_response(error)
            message = conversation.send(_checked(response))
    except StopIteration as end:
        return cast("T", end.value)
    except Exception as error:
        raise _failed(question, error) from error


def ask_database(question: DatabaseQuestion[T]) -> T:
    """
    Send a request to Airflow's database, from a process without a supervisor.

    :param question: The request.
    :raises ClaimsError: If the database does not respond.
    """
    try:
        return question.query()
    except Exception as error:
        raise _failed(question, error) from error


def _portions(run_ids: tuple[str, ...]) -> Iterator[list[str]]:
    return (list(run_ids[start : start + RUNS_AT_A_TIME]) for start in range(0, len(run_ids), RUNS_AT_A_TIME))


def _text(state: object) -> str | None:
    return None if state is None else str(getattr(state, "value", state))


def _supervisor() -> Any:
    if not find_spec("airflow.sdk"):
        return None
    from airflow.sdk.execution_time import task_runner

    return getattr(task_runner, "SUPERVISOR_COMMS", None)


class _RefusedError(Exception):
    """The supervisor responded with an error."""

    def __init__(self, response: Any) -> None:
        detail = response.detail or {}
        status = detail.get("status_code")
        super().__init__(f"{response.error.name}{f' {status}' if status else ''}")
        self.is_permanent = response.error.name == "PERMISSION_DENIED" or status in (401, 403)


def _error_response(error: Exception) -> Any:
    # The supervisor of a real task raises error responses as exceptions; the one of dag.test() returns them.
    response = getattr(error, "error", None)
    if not hasattr(response, "error"):
        raise error
    return response


def _checked(response: Any) -> Any:
    error = getattr(response, "error", None)
    if error is None:
        return response
    if error.name == "VARIABLE_NOT_FOUND":
        return None
    raise _RefusedError(response)


def _failed(question: DatabaseQuestion[Any], error: Exception) -> ClaimsError:
    # Of an unknown error, only the type is shown: messages of databases may contain passwords.
    reason = str(error) if isinstance(error, _RefusedError) else type(error).__name__
    is_permanent = getattr(error, "is_permanent", False)
    denied = "access denied: " if is_permanent else ""
    message = f"Cannot {_ACTIONS[type(question)].format(question)} ({denied}{reason})"
    return ClaimsError(message, transient=not is_permanent)


_ACTIONS: dict[type[Any], str] = {
    ReadVariable: "read the Variable {0.key!r}",
    WriteVariable: "write the Variable {0.key!r}",
    ReadVariables: "read the Variables '{0.prefix}*'",
    ReadPool: "read the pool {0.name!r}",
    ReadTaskStates: "read the task states of DAG {0.dag_id!r}",
    ReadActiveRuns: "read the runs of DAG {0.dag_id!r}",
}
