"""Handle failed and cancelled deferrals, which differ between Airflow versions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_leadmagic.exceptions import LeadMagicError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from airflow_provider_leadmagic.compat.imports import Log

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

    With ``soft_fail``, Airflow's own error would skip the task, and a crash must not end in a successful DAG run.

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
    Finish a coroutine even if the caller is cancelled meanwhile, once or several times.

    On Airflow 3.0 and 3.1, if a trigger is cancelled while it waits for a response from the supervisor, the next
    request reads that response instead of its own, and the whole triggerer crashes.

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
