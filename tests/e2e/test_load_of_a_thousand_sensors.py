"""A thousand gates in one triggerer, a look a minute: what they take of it, what others feel, and that all open."""

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

pytestmark = pytest.mark.e2e

GATES, INTERVAL = 1000, 60.0
#: Seconds in which there is a look for certain: the longest wait between two, and a moment for the look itself.
WINDOW = INTERVAL + 4.0
#: Percent of a core, what Airflow takes for itself included.
MOST_CPU = 2
SLEEPER = "benchmarks.triggerer.sleeper.SleepingTrigger"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Run three triggerers beside each other; a probed one could not be asked for its CPU, as probing takes some."""
    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

    with Sandbox(credits=1) as account, ExitStack() as stack:
        folder = tmp_path_factory.mktemp("triggerers")
        settings = {"AIRFLOW_CONN_LEADMAGIC_DEFAULT": account.connection_json}
        triggerers = {
            name: stack.enter_context(trigger_process(instructions_for(name, folder / name), folder / name, settings))
            for name in ("measured", "probed", "sleeping")
        }
        yield hear_everything(triggerers, account)


def instructions_for(name: str, folder: Path) -> Instructions:
    folder.mkdir()
    report = str(folder / "report")
    if name == "sleeping":
        return Instructions(SLEEPER, [{}] * GATES, report, windows=1, window=WINDOW)
    classpath, _ = SufficientCreditsTrigger("leadmagic_default", "1", INTERVAL).serialize()
    lines = [str(100 + number % 7) for number in range(GATES)]
    arguments = [
        SufficientCreditsTrigger("leadmagic_default", line, INTERVAL, waiting_since=time.time()).serialize()[1]
        for line in lines
    ]
    return Instructions(classpath, arguments, report, 1, WINDOW, GATES, linger=2.0, measure_lag=name == "probed")


def hear_everything(triggerers: dict[str, TriggerProcess], account: Sandbox) -> dict[str, Any]:
    told: dict[str, Any] = {name: triggerer.wait_for_report("windows")[0] for name, triggerer in triggerers.items()}
    told["requests"] = requests_within(told["measured"], account)
    account.add_credits(1000)
    told["topped_up"] = time.time()
    told["created"] = triggerers["probed"].wait_for_report("created")
    told["fired"] = triggerers["measured"].wait_for_report("fired")
    return told


def requests_within(window: dict[str, float], account: Sandbox) -> int:
    return sum(window["start"] <= request.at < window["end"] for request in account.requests)


def test_they_take_little_of_a_core(told: dict[str, Any]) -> None:
    ours, airflows = told["measured"]["cpu_percent"], told["sleeping"]["cpu_percent"]

    print(
        f"{GATES} gates: {ours:.2f} % of a core, of which Airflow takes {airflows:.2f} % for triggers that only sleep"
    )
    assert ours < MOST_CPU


def test_nobody_beside_them_waits_long(told: dict[str, Any]) -> None:
    lag, created = told["probed"], told["created"]

    print(f"loop lag while waiting: p99 {lag['p99_ms']:.0f} ms, longest {lag['longest_ms']:.0f} ms")
    print(f"while they are created, for {created['seconds']:.1f} s: longest {created['longest_ms']:.0f} ms")
    assert lag["p99_ms"] < 100


def test_they_share_their_looks(told: dict[str, Any]) -> None:
    # Two triggerers look at this account.
    assert 2 <= told["requests"] <= 4


def test_each_opens_once_after_a_top_up(told: dict[str, Any]) -> None:
    events = told["fired"]

    after = [event["at"] - told["topped_up"] for event in events]
    print(f"open {min(after):.1f} to {max(after):.1f} s after the top-up")
    assert Counter(event["trigger_id"] for event in events) == Counter(range(1, GATES + 1))
    assert {event["payload"]["status"] for event in events} == {"open"}
    assert 0 < min(after) <= max(after) < WINDOW
