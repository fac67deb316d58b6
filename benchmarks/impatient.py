"""Threads that nobody waits for once something has gone wrong: what they measure takes minutes, and is of no use."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def impatient_threads(number: int) -> Iterator[ThreadPoolExecutor]:
    """
    Wait at the end for all that was submitted, but not after an exception.

    :param number: How many threads there may be.
    """
    pool = ThreadPoolExecutor(number)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def leave(exit_code: int) -> NoReturn:
    """
    End this process, whatever its threads are at, and what they have started.

    :param exit_code: The exit code.
    """
    for child in psutil.Process().children(recursive=True):
        child.kill()
    sys.stdout.flush()
    os._exit(exit_code)
