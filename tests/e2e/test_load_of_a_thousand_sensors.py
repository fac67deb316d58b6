"""A thousand sensors in one triggerer, with one poll a minute: CPU time, event-loop lag, and that all succeed."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.triggers.credits import SufficientCreditsTrigger
from benchmarks.triggerer.instructions import Instructions
from benchmarks.triggerer.start import TriggerProcess, trigger_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

pytestmark = [pytest.mark.e2e, pytest.mark.load]

SENSORS, INTERVAL = 1000, 60.0
#: Seconds in which at least one poll completes: the longest wait between two polls, plus time for the poll itself.
WINDOW = INTERVAL + 4.0
#: Percent of a core, including what Airflow itself takes.
MAX_CPU = 2
SLEEPER = "benchmarks.triggerer.sleeper.SleepingTrigger"


@pytest.fixture(scope="module")
def measurements(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Run three triggerers in parallel. CPU and lag need two of them, because measuring the lag takes CPU time."""
    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

    with Sandbox(credits=1) as account, ExitStack() as stack:
        folder = tmp_path_factory.mktemp("triggerers")
        settings = {"AIRFLOW_CONN_LEADMAGIC_DEFAULT": account.connection_json}
        triggerers = {
            name: stack.enter_context(trigger_process(instructions_for(name, folder / name), folder / name, settings))
            for name in ("cpu", "lag", "baseline")
        }
        yield measure(triggerers, account)


def instructions_for(name: str, folder: Path) -> Instructions:
    folder.mkdir()
    report = str(folder / "report")
    if name == "baseline":
        return Instructions(SLEEPER, [{}] * SENSORS, report, windows=1, window=WINDOW)
    classpath, _ = SufficientCreditsTrigger("leadmagic_default", "1", INTERVAL).serialize()
    thresholds = [str(100 + number % 7) for number in range(SENSORS)]
    arguments = [
        SufficientCreditsTrigger("leadmagic_default", threshold, INTERVAL, waiting_since=time.time()).serialize()[1]
        for threshold in thresholds
    ]
    return Instructions(classpath, arguments, report, 1, WINDOW, SENSORS, linger=2.0, measure_lag=name == "lag")


def measure(triggerers: dict[str, TriggerProcess], account: Sandbox) -> dict[str, Any]:
    measurements: dict[str, Any] = {
        name: triggerer.wait_for_report("windows")[0] for name, triggerer in triggerers.items()
    }
    measurements["requests"] = requests_within(measurements["cpu"], account)
    account.add_credits(1000)
    measurements["topped_up"] = time.time()
    measurements["created"] = triggerers["lag"].wait_for_report("created")
    measurements["fired"] = triggerers["cpu"].wait_for_report("fired")
    return measurements


def requests_within(window: dict[str, float], account: Sandbox) -> int:
    return sum(window["start"] <= request.at < window["end"] for request in account.requests)


def test_they_take_less_than_2_percent_of_a_core(measurements: dict[str, Any]) -> None:
    sensors, airflow = measurements["cpu"]["cpu_percent"], measurements["baseline"]["cpu_percent"]

    print(f"{SENSORS} sensors: {sensors:.2f} % of a core; as many triggers that only sleep: {airflow:.2f} %")
    assert sensors < MAX_CPU


def test_they_do_not_block_the_event_loop(measurements: dict[str, Any]) -> None:
    lag, created = measurements["lag"], measurements["created"]

    print(f"loop lag while waiting: p99 {lag['p99_ms']:.0f} ms, longest {lag['longest_ms']:.0f} ms")
    print(f"while they are created, for {created['seconds']:.1f} s: longest {created['longest_ms']:.0f} ms")
    assert lag["p99_ms"] < 100


def test_they_share_one_poll(measurements: dict[str, Any]) -> None:
    # Two triggerers poll this account.
    assert 2 <= measurements["requests"] <= 4


def test_each_succeeds_once_after_a_top_up(measurements: dict[str, Any]) -> None:
    events = measurements["fired"]

    after = [event["at"] - measurements["topped_up"] for event in events]
    print(f"succeeded {min(after):.1f} to {max(after):.1f} s after the top-up")
    assert Counter(event["trigger_id"] for event in events) == Counter(range(1, SENSORS + 1))
    assert {event["payload"]["status"] for event in events} == {"open"}
    assert 0 < min(after) <= max(after) < WINDOW
