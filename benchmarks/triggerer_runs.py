"""Measure CPU and memory of standalone triggerers, including with more triggers than a real Airflow can run here."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.accounts import BenchmarkAccount
from benchmarks.candidates import DEFERRABLE, HANDWRITTEN
from benchmarks.plan import MINIMUM_CREDITS, Plan
from benchmarks.triggerer.instructions import Instructions
from benchmarks.triggerer.start import TriggerProcess, trigger_process

if TYPE_CHECKING:
    from pathlib import Path

SLEEPING = "sleeping"
CLASSPATHS = {
    DEFERRABLE.name: DEFERRABLE.trigger,
    HANDWRITTEN.name: HANDWRITTEN.trigger,
    SLEEPING: "benchmarks.triggerer.sleeper.SleepingTrigger",
}
CONN_ID = "benchmark"


@dataclass(frozen=True)
class TriggererResult:
    """
    Measurements of triggers that wait together in one process.

    :param polls: Requests per interval.
    :param cpu_percent: CPU of the process in percent of a core, the median of all windows.
    :param memory_mb: Resident memory of the process at the end.
    :param first_success: Seconds from the top-up to the first event.
    :param last_success: Seconds from the top-up to the last event.
    """

    polls: float
    cpu_percent: float
    memory_mb: float
    first_success: float | None = None
    last_success: float | None = None


def measure_triggerers(plan: Plan, folder: Path) -> dict[str, dict[str, TriggererResult]]:
    """
    Measure every kind of trigger in every number, all at the same time, each in its own process.

    :param plan: How much is measured.
    :param folder: Folder for the files of the processes.
    :return: Results by kind and number of triggers.
    """
    cases = [(kind, number) for kind in CLASSPATHS for number in plan.sizes]
    with ThreadPoolExecutor(len(cases)) as pool:
        results = list(pool.map(lambda case: _measure(*case, plan, folder / f"{case[0]}-{case[1]}"), cases))
    return {
        kind: {str(number): result for (k, number), result in zip(cases, results, strict=True) if k == kind}
        for kind in CLASSPATHS
    }


def _measure(kind: str, number: int, plan: Plan, folder: Path) -> TriggererResult:
    folder.mkdir(parents=True)
    instructions = _instructions(kind, number, plan, folder)
    with BenchmarkAccount() as account:
        settings = {f"AIRFLOW_CONN_{CONN_ID.upper()}": account.connection_for(kind), "AIRFLOW_HOME": str(folder)}
        with trigger_process(instructions, folder, settings) as triggers:
            return _observe(triggers, account, instructions, plan.interval)


def _observe(
    triggers: TriggerProcess, account: BenchmarkAccount, instructions: Instructions, interval: float
) -> TriggererResult:
    windows = triggers.wait_for_report("windows")
    waiting = {
        "polls": statistics.median(_polls(window, account, interval) for window in windows),
        "cpu_percent": statistics.median(window["cpu_percent"] for window in windows),
        "memory_mb": windows[-1]["memory_mb"],
    }
    if not instructions.events:
        return TriggererResult(**waiting)
    poll = account.next_poll(time.time(), instructions.timeout)
    topped_up = account.top_up_half_an_interval_after(poll, interval)
    delays = [event["at"] - topped_up for event in triggers.wait_for_report("fired")]
    return TriggererResult(**waiting, first_success=min(delays), last_success=max(delays))


def _polls(window: dict[str, float], account: BenchmarkAccount, interval: float) -> float:
    start, end = window["start"], window["end"]
    return account.polls_within(start, end) * interval / (end - start)


def _instructions(kind: str, number: int, plan: Plan, folder: Path) -> Instructions:
    return Instructions(
        classpath=str(CLASSPATHS[kind]),
        arguments=[_arguments(kind, plan.interval)] * number,
        report=str(folder / "report"),
        windows=plan.windows,
        window=plan.interval,
        events=0 if kind == SLEEPING else number,
    )


def _arguments(kind: str, interval: float) -> dict[str, Any]:
    if kind == SLEEPING:
        return {}
    if kind == HANDWRITTEN.name:
        return {"conn_id": CONN_ID, "minimum_credits": MINIMUM_CREDITS, "poke_interval": interval}
    known = {"leadmagic_conn_id": CONN_ID, "minimum_credits": str(MINIMUM_CREDITS), "poke_interval": interval}
    # As if the sensor had just polled: the trigger waits for one interval before its first poll.
    return {**known, "waiting_since": time.time()}
