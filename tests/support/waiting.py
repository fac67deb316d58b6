"""Waiting in an event loop for what triggers do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


async def until(condition: Callable[[], bool], patience: float = 10) -> None:
    """
    Wait for a condition, and fail where it does not come true in time.

    :param patience: Seconds.
    """
    async with asyncio.timeout(patience):
        while not condition():
            await asyncio.sleep(0.005)
