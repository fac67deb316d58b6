"""What one gate adds to the import of a DAG file, which Airflow does again and again."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import json, sys, time
import benchmarks.bare_dag
before, began = set(sys.modules), time.perf_counter()
import benchmarks.dags.{name}
took = time.perf_counter() - began
print(json.dumps([took * 1000, len(set(sys.modules) - before) - 1]))
"""


def measure_import(name: str) -> tuple[float, int]:
    """
    Import the DAG file of a contender in a fresh process that has imported one without sensors.

    :param name: The contender.
    :return: Milliseconds, and how many modules were loaded besides the file itself.
    """
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM.format(name=name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    milliseconds, modules = json.loads(done.stdout.splitlines()[-1])
    return milliseconds, modules
