"""Work on an event loop that is not left half-way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """
    Finish some work although this may be cancelled meanwhile, even repeatedly.

    :param work: What to finish.
    :return: Its result.
    :raises asyncio.CancelledError: When the work is done, if this was cancelled before.
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
