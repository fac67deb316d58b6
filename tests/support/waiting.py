"""Wait in an event loop for a condition."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


async def until(condition: Callable[[], bool], patience: float = 10) -> None:
    """
    Wait until a condition is true, or raise a TimeoutError.

    :param condition: Function that is called repeatedly.
    :param patience: Timeout in seconds.
    """
    async with asyncio.timeout(patience):
        while not condition():
            await asyncio.sleep(0.005)
