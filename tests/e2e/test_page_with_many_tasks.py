"""How long the page takes in an Airflow with 100,000 task instances."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from dev.local_airflow import AIRFLOW_SERIES
from tests.support.airflow_home import HOME
from tests.support.api_server import ApiServer, users_in
from tests.support.page_rows import PageRows

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(AIRFLOW_SERIES < (3, 1), reason="the page needs Airflow 3.1")]

TASKS, WAITING, RECORDS = 100_000, 200, 2_000
#: Seconds of processor time for a view. Unlike its duration, this does not depend on what else the machine does.
LIMIT = 0.3


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with Sandbox(credits=1000) as account, ApiServer(HOME / "page-many", users_in(HOME)) as running:
        PageRows(running.database).add_connection("leadmagic_default", account.connection_json)
        yield running


def view(server: ApiServer) -> tuple[float, float]:
    """Return the duration of a view, and the processor time that the API server used for it."""
    before, start = processor_time(server), time.perf_counter()
    assert server.visit("", "admin").status_code == 200
    return time.perf_counter() - start, processor_time(server) - before


def processor_time(server: ApiServer) -> float:
    times = [psutil.Process(pid).cpu_times() for pid in server.processes_of("api-server")]
    return sum(time.user + time.system for time in times)


def describe(name: str, views: list[tuple[float, float]]) -> float:
    duration, processor = (statistics.median(values) for values in zip(*views, strict=True))
    print(f"{name}: {duration * 1000:.0f} ms, of which {processor * 1000:.0f} ms processor time")
    return processor


def test_a_view_takes_little_time_with_100_000_tasks(server: ApiServer) -> None:
    server.token_of("admin")
    describe("first view", [view(server)])
    describe("small database", [view(server) for _ in range(5)])
    rows = PageRows(server.database)
    rows.add_deferred("deferred_leads", "leadmagic_default", "5000", WAITING)
    rows.add_rescheduled("rescheduled_leads", "leadmagic_default", "5000", WAITING)
    rows.add_spending("spending_leads", "leadmagic_default", 2, count=RECORDS)
    for part in range(0, TASKS, 10_000):
        rows.add_tasks("old_leads", "done", "success", [{"map_index": part + index} for index in range(10_000)])

    processor = describe(f"{TASKS:,} task instances", [view(server) for _ in range(5)])

    page = server.visit("", "admin").text
    assert page.count("deferred_leads.wait_for_credits") == WAITING
    assert page.count("rescheduled_leads.wait[") + page.count("rescheduled_leads.wait<") == WAITING
    assert f'<td class="number">{RECORDS}</td><td class="number">{2 * RECORDS:,}</td>' in page
    assert processor < LIMIT
