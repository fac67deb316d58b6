"""What Airflow does to a deferral that fails or is ended, which differs from version to version."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_leadmagic.exceptions import LeadMagicError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from airflow_provider_leadmagic.compat.imports import Log

T = TypeVar("T")

#: ``next_method`` of a task whose trigger failed or ran out of time.
FAILED = "__fail__"

# What the scheduler writes about a deferral that ran out of time: Airflow 2.11, Airflow 3.
_TIMEOUTS = ("Trigger/execution timeout", "Trigger timeout")


def is_timeout(failure: dict[str, Any]) -> bool:
    """
    Tell whether a deferral ran out of time.

    :param failure: ``next_kwargs`` of the task.
    """
    return failure.get("error") in _TIMEOUTS


def trigger_error(log: Log, failure: dict[str, Any]) -> LeadMagicError:
    """
    Log why a trigger failed, and build the error for it.

    Airflow's own error would be skipped under ``soft_fail``, and a crash must not end as a green run.

    :param log: The task's logger.
    :param failure: ``next_kwargs`` of the task.
    """
    log.error("Trigger failed:\n%s", "\n".join(failure.get("traceback") or ["no traceback came with it"]))
    return LeadMagicError(f"Trigger failed ({failure.get('error')}): see the traceback above in the task log.")


def airflow_calls_on_kill() -> bool:
    """
    Tell whether Airflow calls a trigger's ``on_kill`` when a person ends the task, as it does from 3.3 on.

    Before, the trigger is only cancelled, whatever the reason.
    """
    from airflow.triggers.base import BaseTrigger

    return hasattr(BaseTrigger, "on_kill")


async def finish_even_if_cancelled(work: Coroutine[Any, Any, T]) -> T:
    """
    Finish some work although the caller may be cancelled meanwhile, even repeatedly.

    On Airflow 3.0 and 3.1 a trigger that is cancelled while it waits for the supervisor's response leaves that to the
    next one who asks, and the whole triggerer ends by it.

    :param work: What to finish.
    :return: Its result.
    :raises asyncio.CancelledError: When the work is done, if the caller was cancelled before.
    """
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = cancelled or error  # the first one, with its reason: Airflow 3.3 goes by it
    if cancelled:
        raise cancelled from task.exception()
    return task.result()
