"""Fixtures for the tests of the operators."""

from __future__ import annotations

import csv
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator
from tests.support.bulk_task_runner import StateStore, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox


class MakeTask(Protocol):
    def __call__(self, *, store: bool = True, **arguments: Any) -> Task: ...


class When(Protocol):
    def __call__(self, condition: Callable[[], bool], act: Callable[[], object]) -> None: ...


def leads(number: int) -> list[dict[str, Any]]:
    return [{"crm_id": index, "full_name": f"Lead {index}", "domain": "example.com"} for index in range(number)]


@pytest.fixture(params=["on the worker", "in the triggerer"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    """Run the test for both values of ``deferrable``."""
    return request.param == "in the triggerer"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "enriched.csv"


@pytest.fixture
def task(leadmagic_sandbox: Sandbox, output: Path) -> MakeTask:
    """Return a function that creates a task with a short poll interval."""

    def make(*, store: bool = True, **arguments: Any) -> Task:
        defaults = {"product": "email_finder", "output_path": output, "poll_interval": 0.02, "timeout": 30}
        if "input_path" not in arguments:
            defaults["rows"] = leads(5)
        operator = BulkEnrichmentOperator(task_id="enrich", **{**defaults, **arguments})
        return Task(operator, StateStore() if store else None)

    return make


@pytest.fixture
def when() -> Iterator[When]:
    """Return a function that acts in another thread once a condition holds; it must hold before the test ends."""
    threads: list[threading.Thread] = []
    done: list[bool] = []

    def wait_and_act(condition: Callable[[], bool], act: Callable[[], object]) -> None:
        limit = time.monotonic() + 20
        while not (holds := condition()) and time.monotonic() < limit:
            time.sleep(0.002)
        act()  # even if the condition never held, as the test would wait forever otherwise
        done.append(holds)

    def start(condition: Callable[[], bool], act: Callable[[], object]) -> None:
        threads.append(threading.Thread(target=wait_and_act, args=(condition, act)))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join(25)
    assert done == [True] * len(threads)


@pytest.fixture
def written(output: Path) -> Callable[[], list[dict[str, str]]]:
    """Return a function that reads the output file."""

    def read() -> list[dict[str, str]]:
        with output.open(newline="") as file:
            return list(csv.DictReader(file))

    return read
