"""Handle failed and cancelled deferrals, and blocking calls of triggers, which differ between Airflow versions."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Executor, Future
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from airflow_provider_leadmagic.exceptions import LeadMagicError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import ThreadPoolExecutor

    from airflow_provider_leadmagic.compat.imports import BaseHook, Connection, Log

T = TypeVar("T")

#: ``next_method`` of a task whose trigger failed or timed out.
FAILED = "__fail__"

# Error text of a deferral that timed out: Airflow 2.11, Airflow 3.
_TIMEOUTS = ("Trigger/execution timeout", "Trigger timeout")


def is_timeout(failure: dict[str, Any]) -> bool:
    """
    Return whether a deferral failed because it timed out.

    :param failure: ``next_kwargs`` of the task.
    """
    return failure.get("error") in _TIMEOUTS


def trigger_error(log: Log, failure: dict[str, Any]) -> LeadMagicError:
    """
    Log the traceback of a failed trigger, and return an error for the task to raise.

    The task does not raise the error that Airflow raises for a failed trigger: with ``soft_fail``, that would skip the
    task, and a DAG run whose trigger crashed would end as successful.

    :param log: Logger of the task.
    :param failure: ``next_kwargs`` of the task.
    """
    log.error("Trigger failed:\n%s", "\n".join(failure.get("traceback") or ["(no traceback)"]))
    return LeadMagicError(f"Trigger failed ({failure.get('error')}): see the traceback above in the task log.")


def airflow_calls_on_kill() -> bool:
    """
    Return whether Airflow calls a trigger's ``on_kill`` when a user ends the task (Airflow 3.3+).

    Older versions only cancel the trigger, and do not report why.
    """
    from airflow.triggers.base import BaseTrigger

    return hasattr(BaseTrigger, "on_kill")


async def finish_even_if_cancelled(work: Coroutine[Any, Any, T]) -> T:
    """
    Finish a coroutine even if the caller is cancelled meanwhile, once or several times. The caller ends afterwards.

    :param work: Coroutine to finish.
    :return: Result of the coroutine.
    :raises asyncio.CancelledError: After the coroutine is finished, if the caller was cancelled.
    """
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = cancelled or error  # the first one has the reason, which Airflow 3.3 evaluates
    if cancelled:
        raise cancelled from task.exception()
    return task.result()


class StillRunningError(Exception):
    """Raised by :func:`leave_running_if_cancelled` when the coroutine takes too long."""


async def leave_running_if_cancelled(work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
    """
    Wait for a coroutine, which keeps running if the wait ends first.

    If the caller is cancelled or ``timeout`` passes, the wait ends at once.

    This protects requests to Airflow's supervisor: on Airflow 3.0 and 3.1, if such a request itself were cancelled
    before its response is read, the next request would read that response instead of its own, and the whole triggerer
    would crash.

    :param work: Coroutine to wait for.
    :param timeout: Seconds to wait; None for no limit.
    :return: Result of the coroutine.
    :raises StillRunningError: If the coroutine takes longer.
    """
    task = asyncio.create_task(work)
    _left_running.add(task)
    task.add_done_callback(_forget)
    await asyncio.wait({task}, timeout=timeout)
    if not task.done():
        raise StillRunningError
    return task.result()


#: Event loops keep only weak references to their tasks.
_left_running: set[asyncio.Task[Any]] = set()


def _forget(task: asyncio.Task[Any]) -> None:
    _left_running.discard(task)
    if not task.cancelled():
        task.exception()  # asyncio logs exceptions that are not retrieved


class DaemonThreads(Executor):
    """
    Runs each call in a daemon thread of its own.

    The default executor of an event loop has six threads on a small machine, for all triggers of a process: six calls
    that hang block them all. Also, before a process ends, Python waits for the threads of every executor but this one.
    """

    def submit(self, call: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Start a thread."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        work = partial(call, *args, **kwargs)
        threading.Thread(target=_run, args=(future, work), name="leadmagic", daemon=True).start()
        return future


def _run(future: Future[T], work: Callable[[], T]) -> None:
    try:
        result = work()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)


_DAEMON_THREADS = DaemonThreads()


async def in_thread(call: Callable[..., T], *args: Any) -> T:
    """
    Run a blocking call in a thread, like ``asyncio.to_thread``, but see :class:`DaemonThreads`.

    :param call: Function to call. It is not interrupted if the caller is cancelled.
    :param args: Arguments of the function.
    """
    work = partial(copy_context().run, call, *args)
    return await asyncio.get_running_loop().run_in_executor(_DAEMON_THREADS, work)


async def get_async_connection(hook: type[BaseHook], conn_id: str) -> Connection:
    """
    Read a connection without blocking the event loop. If the secrets backend hangs, other lookups are not blocked.

    Since Airflow 3.3.2 ``aget_connection`` can be used. In older versions it is missing (2.11, 3.0), or it masks the
    secrets of the connection with a blocking call, which on 3.1 hangs the triggerer. For these versions, the
    synchronous call runs in a thread. asgiref must start the thread: otherwise Airflow does not find the event loop
    that talks to its supervisor.

    By default asgiref runs the synchronous calls of the whole process one after another, in a single thread, so one
    lookup that hangs would block all others. Here each call gets a daemon thread of its own instead.

    :param hook: Hook class that reads the connection.
    :param conn_id: Connection to read.
    :raises AirflowNotFoundException: If the connection does not exist.
    """
    from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async

    from airflow_provider_leadmagic.compat.imports import Connection

    if hasattr(Connection, "aextra_dejson"):  # added together with the non-blocking masking
        async with ThreadSensitiveContext() as context:
            SyncToAsync.context_to_thread_executor[context] = _DAEMON_THREADS
            return await hook.aget_connection(conn_id)
    threads = cast("ThreadPoolExecutor", _DAEMON_THREADS)  # asgiref only calls submit()
    return await sync_to_async(hook.get_connection, thread_sensitive=False, executor=threads)(conn_id)
