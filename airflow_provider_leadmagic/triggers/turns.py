"""Turns to speak: a thousand gates that hear one look do not keep everybody else in the triggerer waiting."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def my_turn() -> AsyncIterator[None]:
    """
    Wait for a pass of the event loop in which no other gate judges.

    One look wakes them all in the same pass. With a log line each, that pass would take a third of a second, in which
    no other trigger gets a word in.
    """
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        await asyncio.sleep(0)  # while the lock is held, so that the others have to queue for it
        yield


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
