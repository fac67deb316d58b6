"""Measure what one sensor adds to the import time of a DAG file, which Airflow parses repeatedly."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import json, sys, time
import benchmarks.bare_dag
before, started = set(sys.modules), time.perf_counter()
import benchmarks.dags.{name}
took = time.perf_counter() - started
print(json.dumps([took * 1000, len(set(sys.modules) - before) - 1]))
"""


def measure_import(name: str) -> tuple[float, int]:
    """
    Import the DAG file of a candidate in a fresh process that has already imported a DAG file without sensors.

    :param name: Name of the candidate.
    :return: Milliseconds, and the number of modules loaded in addition to the file itself.
    """
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM.format(name=name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    milliseconds, modules = json.loads(done.stdout.splitlines()[-1])
    return milliseconds, modules
