"""Metrics that an OpenTelemetry collector receives from the short process of a task."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from dev.local_airflow import AIRFLOW_SERIES
from tests.support.airflow_home import REPOSITORY
from tests.support.listeners import Collector, Point

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def points() -> Iterator[list[Point]]:
    """Return what a finished process has sent. Before Airflow 3.1 the process must flush its metrics itself."""
    with Sandbox(credits="1979.15") as sandbox, Collector() as collector:
        sandbox.freeze(liquid=40)
        connections = {
            "AIRFLOW_CONN_FROZEN": sandbox.connection_json,
            "AIRFLOW_CONN_WRONG_KEY": sandbox.connection_json.replace(sandbox.api_key, "another"),
        }
        command = [sys.executable, "-W", "ignore", "-m", "tests.unit.hooks.metrics.short_process"]
        process = subprocess.run(
            command if AIRFLOW_SERIES >= (3, 1) else [*command, "--flush"],
            env=os.environ | connections | collector.settings,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert process.returncode == 0, process.stderr[-3000:]
        yield collector.points


def test_both_gauges_arrive_tagged_with_conn_id_before_the_process_exits(points: list[Point]) -> None:
    gauges = {(point.name, point.value, *point.tags.items()) for point in points if point.kind == "gauge"}

    assert gauges == {
        ("airflow.leadmagic.credits", 1979.15, ("conn_id", "frozen")),
        ("airflow.leadmagic.credits_spendable", 40.0, ("conn_id", "frozen")),
    }


def test_failed_polls_arrive_counted_by_connection_and_error(points: list[Point]) -> None:
    counted = {
        (point.tags["conn_id"], point.tags["error"]): point.value
        for point in points
        if point.name == "airflow.leadmagic.failed_polls"
    }

    assert counted == {
        ("wrong_key", "LeadMagicAuthenticationError"): 2,
        ("missing", "LeadMagicConfigurationError"): 1,
    }


def test_fractions_of_spent_credits_arrive_as_their_sum(points: list[Point]) -> None:
    spent = {(point.value, *point.tags.items()) for point in points if point.name == "airflow.leadmagic.credits_spent"}

    assert spent == {(0.5, ("conn_id", "frozen"), ("product", "email_validation"))}


def test_counters_are_monotonic_so_that_a_collector_appends_total_to_their_names(points: list[Point]) -> None:
    counts = [point for point in points if point.kind == "sum"]

    assert counts
    assert all(point.is_monotonic for point in counts)
