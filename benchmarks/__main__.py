"""
Measure the cost of a waiting sensor, compare it with the alternatives, and print the tables of ``docs/benchmarks.md``.

``python -m benchmarks`` runs the full measurement; ``--quick`` only checks that everything still runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
import traceback
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.candidates import CANDIDATES
from benchmarks.import_cost import measure_import
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.real_runs import RealRuns, WaitResult, many_sensor_dags, real_airflow, single_sensor_dags
from benchmarks.results import Results
from benchmarks.shutdown import exit_now, thread_pool
from benchmarks.table import markdown
from benchmarks.triggerer_runs import measure_triggerers
from dev.local_airflow import AIRFLOW_VERSION, LocalAirflowError

if TYPE_CHECKING:
    from collections.abc import Sequence

BUILD = Path(__file__).resolve().parent.parent / ".build"
_started = time.monotonic()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and write ``bench.md`` and ``bench.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few sensors, one run each: 6 minutes instead of 25")
    parser.add_argument("--into", type=Path, default=BUILD, help="folder for bench.md and bench.json")
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal must not leave Airflow running
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    try:
        http = version("apache-airflow-providers-http")
        results = _measure(QUICK if options.quick else FULL, f"http provider {http}")
    except PackageNotFoundError:
        return _fail("the package apache-airflow-providers-http is missing; `make bench` installs it.")
    except LocalAirflowError as error:
        return _fail(str(error))
    (options.into / "bench.json").write_text(json.dumps(asdict(results), indent=1))
    (options.into / "bench.md").write_text(markdown(results))
    print(markdown(results))
    return 0


def _measure(plan: Plan, versions: str) -> Results:
    BUILD.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="bench-", dir=BUILD, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        os.environ["AIRFLOW_HOME"] = str(folder)  # for the imports; every other measurement sets its own
        imports = _measure_imports(plan)
        log_progress("Starting a real Airflow ...")
        with real_airflow(plan, folder) as runs, thread_pool(1) as background:
            sizes = " and ".join(f"{size:,}" for size in plan.sizes)
            log_progress(f"Measuring single sensors, and triggerers with {sizes} triggers ...")
            triggerers = background.submit(measure_triggerers, plan, folder / "triggerers")
            alone = _measure_alone(runs, plan)
            by_triggerer = triggerers.result()
            many = _measure_many(runs, plan)
    return Results(plan, _machine(plan, versions), imports, alone, many, by_triggerer)


def _measure_imports(plan: Plan) -> dict[str, list[tuple[float, int]]]:
    log_progress("Importing the DAG files ...")
    names = [candidate.name for candidate in CANDIDATES]
    rounds = [{name: measure_import(name) for name in names} for _ in range(plan.imports)]
    return {name: [costs[name] for costs in rounds] for name in names}


def _measure_alone(runs: RealRuns, plan: Plan) -> dict[str, list[WaitResult]]:
    dags = single_sensor_dags(plan)
    results = zip(dags, runs.measure_together(dags), strict=True)
    grouped = groupby(results, key=lambda pair: pair[0].candidate.name)
    return {name: [result for _, result in pairs] for name, pairs in grouped}


def _measure_many(runs: RealRuns, plan: Plan) -> dict[str, WaitResult]:
    many = {}
    for dag in many_sensor_dags(plan):
        log_progress(f"{dag.candidate.name}: {dag.sensors} sensors ...")
        many[dag.candidate.name] = runs.measure(dag)
    return many


def _machine(plan: Plan, versions: str) -> str:
    python, today = platform.python_version(), datetime.now(UTC).date()
    return (
        f"Airflow {AIRFLOW_VERSION}, {versions}, Python {python}, {os.cpu_count()} cores, {today}. "
        f"Poll interval: {plan.interval:g} s; the account is topped up half an interval after a poll."
    )


def log_progress(line: str) -> None:
    """Print a progress line with the seconds since the start."""
    print(f"[{time.monotonic() - _started:5.0f} s] {line}", file=sys.stderr, flush=True)


def _fail(reason: str) -> int:
    log_progress(f"FAILED: {reason}")
    return 1


if __name__ == "__main__":
    try:
        code: object = main()
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except SystemExit as end:
        code = end.code
    except Exception:
        traceback.print_exc()
        code = 1
    exit_now(code if isinstance(code, int) else 1)
