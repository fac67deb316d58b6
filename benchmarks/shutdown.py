"""End the benchmark at once when it fails, although its threads are in measurements that take minutes."""

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
def thread_pool(size: int) -> Iterator[ThreadPoolExecutor]:
    """
    Provide a thread pool that waits for its threads at the end, but not after an exception.

    :param size: Maximum number of threads.
    """
    pool = ThreadPoolExecutor(size)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def exit_now(exit_code: int) -> NoReturn:
    """Kill all child processes and exit without waiting for threads."""
    for child in psutil.Process().children(recursive=True):
        child.kill()
    sys.stdout.flush()
    os._exit(exit_code)
