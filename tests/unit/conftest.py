"""Fixtures for unit tests: a client, retries without waiting, a connection, and a listener for metrics."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from tests.support.airflow_stats import configure_stats
from tests.support.listeners import Statsd

#: API key that must not appear in any message.
CANARY = "lm_canary_5f0c9b7e2d1a4c83"


@pytest.fixture(autouse=True)
def finished_requests() -> Iterator[None]:
    """After each test, wait for the requests of its triggers, because the next test uses the same sandbox."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("leadmagic"):
            thread.join(timeout=5)


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Make retries immediate, and return the list of the seconds that each would have waited."""
    waits: list[float] = []
    for module in ("tenacity.nap", "airflow_provider_leadmagic.bulk.previous_attempts"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(sleep=waits.append))
    return waits


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Statsd]:
    """Make Airflow send its metrics to the returned listener. An indirect parameter overrides its settings."""
    with Statsd() as listener, monkeypatch.context() as environment:
        for name, value in (listener.settings | getattr(request, "param", {})).items():
            environment.setenv(name, value)
        configure_stats()
        yield listener
    configure_stats()


@pytest.fixture
def client(leadmagic_sandbox) -> Iterator[LeadMagicClient]:
    with LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url) as client:
        yield client


@pytest.fixture
def resolve_container(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that makes a host name resolve to this machine, as in a network of containers."""

    def resolve(name: str, original: Callable[..., Any] = socket.getaddrinfo) -> None:
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda host, *rest, **options: original("127.0.0.1" if host == name else host, *rest, **options),
        )

    return resolve


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., LeadMagicHook]:
    """
    Return a function that defines the connection ``lead`` by a URI or by the fields of its JSON form.

    By default its API key is one that the sandbox rejects.
    """

    def define(uri: str | None = None, **fields: Any) -> LeadMagicHook:
        value = uri or json.dumps({"conn_type": "leadmagic", "password": CANARY, **fields})
        monkeypatch.setenv("AIRFLOW_CONN_LEAD", value)
        return LeadMagicHook("lead")

    return define
