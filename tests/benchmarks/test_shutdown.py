"""A failed benchmark ends at once, with every process that it started."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import psutil
import pytest

from benchmarks.shutdown import thread_pool
from dev.local_airflow import wait_until
from tests.support.airflow_home import REPOSITORY

PROGRAM = """
import subprocess, threading
from benchmarks.shutdown import exit_now
child = subprocess.Popen(["sleep", "600"])
threading.Thread(target=threading.Event().wait).start()
print(child.pid)
exit_now(3)
"""


def test_a_thread_pool_does_not_wait_for_its_threads_after_an_exception() -> None:
    release, started = threading.Event(), time.monotonic()

    def fail() -> None:
        with thread_pool(1) as threads:
            threads.submit(release.wait, 60)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    took = time.monotonic() - started
    release.set()

    assert took < 30


def test_a_thread_pool_waits_for_its_threads_without_an_exception() -> None:
    with thread_pool(1) as threads:
        done = [threads.submit(time.sleep, 0.01) for _ in range(5)]

    assert all(future.done() for future in done)


def test_exiting_ignores_threads_kills_child_processes_and_flushes_output() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=REPOSITORY, capture_output=True, text=True, timeout=30)

    assert done.returncode == 3, done.stderr
    wait_until(lambda: not is_running(int(done.stdout)), 10, "the end of the child")


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
