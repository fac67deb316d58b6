"""Fixtures of the metrics tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.listeners import Statsd
from tests.unit.hooks.metrics.airflow_stats import configure_stats

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Statsd]:
    """Make Airflow send its metrics to the returned listener. An indirect parameter overrides its settings."""
    with Statsd() as listener, monkeypatch.context() as environment:
        for name, value in (listener.settings | getattr(request, "param", {})).items():
            environment.setenv(name, value)
        configure_stats()
        yield listener
    configure_stats()
