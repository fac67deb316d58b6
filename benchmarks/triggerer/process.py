"""
A process that runs triggers: ``python -m benchmarks.triggerer.process INSTRUCTIONS-FILE``.

It creates the triggers, measures itself while they wait, then waits for their events. After each of these phases it
appends a line of JSON to the report file; Airflow's log goes to standard error.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.triggerer.instructions import Instructions
from benchmarks.triggerer.loop_lag import PROBE_INTERVAL, LoopLag, measure_loop_lag
from benchmarks.triggerer.standalone_runner import HAS_SUPERVISOR, StandaloneRunner
from dev.local_airflow import AIRFLOW_SERIES

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Follow the instructions in the file that the command line names."""
    if HAS_SUPERVISOR:
        _log_json()
    asyncio.run(_run(Instructions.read(Path(sys.argv[1]))))


async def _run(instructions: Instructions) -> None:
    runner = StandaloneRunner(instructions.classpath, instructions.arguments)
    running = asyncio.create_task(runner.arun())
    await _create_triggers(runner, instructions)
    _report(instructions, windows=[await _measure_window(instructions) for _ in range(instructions.windows)])
    await _until(lambda: len(runner.fired) >= instructions.events, instructions.timeout)
    await asyncio.sleep(instructions.linger)
    _report(instructions, fired=[asdict(event) for event in runner.fired])
    running.cancel()
    os._exit(0)  # the remaining triggers need no clean shutdown


async def _create_triggers(runner: StandaloneRunner, instructions: Instructions) -> None:
    started = time.monotonic()
    async with measure_loop_lag() as lag:
        await _until(lambda: not runner.to_create and _is_settled(lag), instructions.timeout)
    _report(instructions, created={"seconds": time.monotonic() - started, **lag.report()})


def _is_settled(lag: LoopLag) -> bool:
    """
    Return True if most probes of the last second were on time.

    It is not enough that all triggers are created: the last ones still occupy the event loop for a while.
    """
    latest = lag.samples[-100:]
    return len(latest) == 100 and statistics.median(latest) < PROBE_INTERVAL


async def _measure_window(instructions: Instructions) -> dict[str, float]:
    async with measure_loop_lag() if instructions.measure_lag else nullcontext() as lag:
        start, cpu = time.time(), time.process_time()
        await asyncio.sleep(instructions.window)
        end, cpu = time.time(), time.process_time() - cpu
    usage = {"cpu_percent": 100 * cpu / (end - start), "memory_mb": psutil.Process().memory_info().rss / 1e6}
    return {"start": start, "end": end, **usage, **(lag.report() if lag else {})}


async def _until(condition: Callable[[], bool], timeout: float) -> None:
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.1)


def _report(instructions: Instructions, **phase: Any) -> None:
    with Path(instructions.report).open("a") as file:
        file.write(json.dumps(phase, default=str) + "\n")


def _log_json() -> None:
    """Log JSON, as a triggerer with a supervisor does. This costs less than the human-readable format."""
    from airflow.sdk.log import configure_logging

    as_json = {"json_output": True} if AIRFLOW_SERIES >= (3, 1) else {"enable_pretty_log": False}
    configure_logging(**as_json, output=sys.stderr.buffer, sending_to_supervisor=True)


if __name__ == "__main__":
    main()
