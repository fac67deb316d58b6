"""
Measure what a waiting gate costs, against what people use today, and print the table of ``docs/benchmarks.md``.

``python -m benchmarks`` measures in full; ``--quick`` only shows that everything still runs.
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

from benchmarks.contenders import CONTENDERS
from benchmarks.impatient import impatient_threads, leave
from benchmarks.import_cost import measure_import
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.real_runs import RealRuns, Waited, crowded_dags, lonely_dags, real_airflow
from benchmarks.results import Results
from benchmarks.table import markdown
from benchmarks.triggerer_runs import measure_triggerers
from dev.local_airflow import AIRFLOW_VERSION, LocalAirflowError

if TYPE_CHECKING:
    from collections.abc import Sequence

BUILD = Path(__file__).resolve().parent.parent / ".build"
_began = time.monotonic()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write ``bench.md`` and ``bench.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few gates, once each: two minutes instead of twenty")
    parser.add_argument("--into", type=Path, default=BUILD, help="the folder for bench.md and bench.json")
    chosen = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal must not leave Airflow behind
        signal.signal(number, lambda caught, _: sys.exit(128 + caught))
    try:
        http = version("apache-airflow-providers-http")
        results = _measure(QUICK if chosen.quick else FULL, f"http provider {http}")
    except PackageNotFoundError:
        return _fail("the package apache-airflow-providers-http is missing; `make bench` installs it.")
    except LocalAirflowError as error:
        return _fail(str(error))
    (chosen.into / "bench.json").write_text(json.dumps(asdict(results), indent=1))
    (chosen.into / "bench.md").write_text(markdown(results))
    print(markdown(results))
    return 0


def _measure(plan: Plan, versions: str) -> Results:
    BUILD.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="bench-", dir=BUILD, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        os.environ["AIRFLOW_HOME"] = str(folder)  # for the imports; everything else has one of its own
        imports = _measure_imports(plan)
        say("Starting a real Airflow ...")
        with real_airflow(plan, folder) as runs, impatient_threads(1) as background:
            say(f"Gates that wait alone, and triggerers with {' and '.join(f'{n:,}' for n in plan.sizes)} triggers ...")
            triggerers = background.submit(measure_triggerers, plan, folder / "triggerers")
            alone = _measure_alone(runs, plan)
            taken = triggerers.result()
            many = _measure_many(runs, plan)
    return Results(plan, _machine(plan, versions), imports, alone, many, taken)


def _measure_imports(plan: Plan) -> dict[str, list[tuple[float, int]]]:
    say("Importing the DAG files ...")
    names = [contender.name for contender in CONTENDERS]
    rounds = [{name: measure_import(name) for name in names} for _ in range(plan.imports)]
    return {name: [costs[name] for costs in rounds] for name in names}


def _measure_alone(runs: RealRuns, plan: Plan) -> dict[str, list[Waited]]:
    dags = lonely_dags(plan)
    told = zip(dags, runs.measure_together(dags), strict=True)
    grouped = groupby(told, key=lambda pair: pair[0].contender.name)
    return {name: [waited for _, waited in pairs] for name, pairs in grouped}


def _measure_many(runs: RealRuns, plan: Plan) -> dict[str, Waited]:
    many = {}
    for dag in crowded_dags(plan):
        say(f"{dag.gates} gates of {dag.contender.name} ...")
        many[dag.contender.name] = runs.measure(dag)
    return many


def _machine(plan: Plan, versions: str) -> str:
    python, today = platform.python_version(), datetime.now(UTC).date()
    return (
        f"Airflow {AIRFLOW_VERSION}, {versions}, Python {python}, {os.cpu_count()} cores, {today}. "
        f"A look every {plan.interval:g} s; the top-up comes half an interval after a look."
    )


def say(line: str) -> None:
    """Print a progress line with the seconds since the start."""
    print(f"[{time.monotonic() - _began:5.0f} s] {line}", file=sys.stderr, flush=True)


def _fail(reason: str) -> int:
    say(f"FAILED: {reason}")
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
    leave(code if isinstance(code, int) else 1)
