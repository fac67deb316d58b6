"""A benchmark that has come to nothing ends at once, with all that it started."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import psutil
import pytest

from benchmarks.impatient import impatient_threads
from dev.local_airflow import wait_until
from tests.support.airflow_home import REPOSITORY

PROGRAM = """
import subprocess, threading
from benchmarks.impatient import leave
child = subprocess.Popen(["sleep", "600"])
threading.Thread(target=threading.Event().wait).start()
print(child.pid)
leave(3)
"""


def test_after_an_exception_nobody_waits_for_the_threads() -> None:
    over, began = threading.Event(), time.monotonic()

    def come_to_nothing() -> None:
        with impatient_threads(1) as threads:
            threads.submit(over.wait, 60)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        come_to_nothing()
    took = time.monotonic() - began
    over.set()

    assert took < 30


def test_without_one_all_that_was_submitted_is_done_at_the_end() -> None:
    with impatient_threads(1) as threads:
        done = [threads.submit(time.sleep, 0.01) for _ in range(5)]

    assert all(future.done() for future in done)


def test_leaving_waits_for_no_thread_leaves_no_process_and_loses_no_word() -> None:
    left = subprocess.run([sys.executable, "-c", PROGRAM], cwd=REPOSITORY, capture_output=True, text=True, timeout=30)

    assert left.returncode == 3, left.stderr
    wait_until(lambda: not is_running(int(left.stdout)), 10, "the end of the child")


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
