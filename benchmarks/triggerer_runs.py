"""Gates that wait in a triggerer of their own: what they take of its CPU and memory, also where there are lots."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.accounts import BenchmarkAccount
from benchmarks.contenders import OURS, OWN_TRIGGER
from benchmarks.plan import NEEDED, Plan
from benchmarks.triggerer.order import Order
from benchmarks.triggerer.start import TriggersProcess, started

if TYPE_CHECKING:
    from pathlib import Path

SLEEPING = "sleeping"
CLASSPATHS = {
    OURS.name: OURS.trigger,
    OWN_TRIGGER.name: OWN_TRIGGER.trigger,
    SLEEPING: "benchmarks.triggerer.sleeper.SleepingTrigger",
}
CONN_ID = "benchmark"


@dataclass(frozen=True)
class Triggered:
    """
    How triggers waited together.

    :param looks: Requests in an interval.
    :param cpu_percent: Share of a core that their process took, the median of some windows.
    :param memory_mb: Resident memory of the process at the end.
    :param first_open: Seconds from the top-up to the first event.
    :param last_open: Seconds from the top-up to the last event.
    """

    looks: float
    cpu_percent: float
    memory_mb: float
    first_open: float | None = None
    last_open: float | None = None


def measure_triggerers(plan: Plan, folder: Path) -> dict[str, dict[str, Triggered]]:
    """
    Measure all numbers of triggers of all kinds at the same time, each in a process of its own.

    :param plan: How much is measured.
    :param folder: Where they may write.
    :return: By kind and number.
    """
    cases = [(kind, number) for kind in CLASSPATHS for number in plan.sizes]
    with ThreadPoolExecutor(len(cases)) as pool:
        results = list(pool.map(lambda case: _measure(*case, plan, folder / f"{case[0]}-{case[1]}"), cases))
    return {
        kind: {str(number): told for (k, number), told in zip(cases, results, strict=True) if k == kind}
        for kind in CLASSPATHS
    }


def _measure(kind: str, number: int, plan: Plan, folder: Path) -> Triggered:
    folder.mkdir(parents=True)
    order = _order(kind, number, plan, folder)
    with BenchmarkAccount() as account:
        settings = {f"AIRFLOW_CONN_{CONN_ID.upper()}": account.connection_for(kind), "AIRFLOW_HOME": str(folder)}
        with started(order, folder, settings) as triggers:
            return _observe(triggers, account, order, plan.interval)


def _observe(triggers: TriggersProcess, account: BenchmarkAccount, order: Order, interval: float) -> Triggered:
    windows = triggers.hear("windows")
    taken = {
        "looks": statistics.median(_looks(window, account, interval) for window in windows),
        "cpu_percent": statistics.median(window["cpu_percent"] for window in windows),
        "memory_mb": windows[-1]["memory_mb"],
    }
    if not order.events:
        return Triggered(**taken)
    look = account.next_look(time.time(), order.patience)
    topped_up = account.top_up_half_an_interval_after(look, interval)
    opened = [event["at"] - topped_up for event in triggers.hear("fired")]
    return Triggered(**taken, first_open=min(opened), last_open=max(opened))


def _looks(window: dict[str, float], account: BenchmarkAccount, interval: float) -> float:
    begin, end = window["begin"], window["end"]
    return account.looks_within(begin, end) * interval / (end - begin)


def _order(kind: str, number: int, plan: Plan, folder: Path) -> Order:
    return Order(
        classpath=str(CLASSPATHS[kind]),
        arguments=[_arguments(kind, plan.interval)] * number,
        report=str(folder / "report"),
        windows=plan.windows,
        window=plan.interval,
        events=0 if kind == SLEEPING else number,
    )


def _arguments(kind: str, interval: float) -> dict[str, Any]:
    if kind == OURS.name:
        known = {"leadmagic_conn_id": CONN_ID, "minimum_credits": str(NEEDED), "poke_interval": interval}
        return {**known, "waiting_since": time.time()}  # as the sensor has it, which looks before it defers
    return {"conn_id": CONN_ID, "minimum_credits": NEEDED, "poke_interval": interval} if kind != SLEEPING else {}
