"""
The process in which triggers wait: ``python -m benchmarks.triggerer.process ORDER-FILE``.

It creates them, watches itself while they wait, then waits for their events. After each of these it writes a line of
JSON to the file that the order names; what Airflow logs goes to standard error.
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

from benchmarks.triggerer.lone_runner import HAS_SUPERVISOR, LoneRunner
from benchmarks.triggerer.loop_lag import PROBED_EVERY, LoopLag, probed_lag
from benchmarks.triggerer.order import Order
from dev.local_airflow import AIRFLOW_SERIES

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Do what the order says."""
    if HAS_SUPERVISOR:
        _log_as_to_a_supervisor()
    asyncio.run(_follow(Order.read(Path(sys.argv[1]))))


async def _follow(order: Order) -> None:
    runner = LoneRunner(order.classpath, order.arguments)
    running = asyncio.create_task(runner.arun())
    await _create(runner, order)
    await _wait(order)
    await _until(lambda: len(runner.fired) >= order.events, order.patience)
    await asyncio.sleep(order.aftermath)
    _report(order, fired=[asdict(event) for event in runner.fired])
    running.cancel()
    os._exit(0)  # the triggers that are left are not worth a goodbye


async def _create(runner: LoneRunner, order: Order) -> None:
    began = time.monotonic()
    async with probed_lag() as lag:
        await _until(lambda: not runner.to_create and _is_calm(lag), order.patience)
    _report(order, created={"seconds": time.monotonic() - began, **lag.report()})


def _is_calm(lag: LoopLag) -> bool:
    """Tell whether most probes of the last second were on time: triggers go on working after they are created."""
    latest = lag.samples[-100:]
    return len(latest) == 100 and statistics.median(latest) < PROBED_EVERY


async def _wait(order: Order) -> None:
    _report(order, windows=[await _window(order) for _ in range(order.windows)])


async def _window(order: Order) -> dict[str, float]:
    async with probed_lag() if order.probed else nullcontext() as lag:
        begin, cpu = time.time(), time.process_time()
        await asyncio.sleep(order.window)
        end, cpu = time.time(), time.process_time() - cpu
    used = {"cpu_percent": 100 * cpu / (end - begin), "memory_mb": psutil.Process().memory_info().rss / 1e6}
    return {"begin": begin, "end": end, **used, **(lag.report() if lag else {})}


async def _until(condition: Callable[[], bool], patience: float) -> None:
    async with asyncio.timeout(patience):
        while not condition():
            await asyncio.sleep(0.1)


def _report(order: Order, **phase: Any) -> None:
    with Path(order.report).open("a") as file:
        file.write(json.dumps(phase, default=str) + "\n")


def _log_as_to_a_supervisor() -> None:
    """Log as in a triggerer, which costs less than what people read: its supervisor gets JSON."""
    from airflow.sdk.log import configure_logging

    as_json = {"json_output": True} if AIRFLOW_SERIES >= (3, 1) else {"enable_pretty_log": False}
    configure_logging(**as_json, output=sys.stderr.buffer, sending_to_supervisor=True)


if __name__ == "__main__":
    main()
