"""Fixtures and constants of the tests against a hostile server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings

from airflow_provider_leadmagic.client import LeadMagicClient
from tests.unit.api.conftest import full_queue
from tests.unit.conftest import resolve_container, sleeps

__all__ = ["client_of", "full_queue", "resolve_container", "sleeps"]

# The default profile uses the same examples each time, so that a build does not fail by chance.
# HYPOTHESIS_PROFILE=explore searches for new ones.
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=100, database=None)
settings.register_profile("explore", deadline=None, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

API_KEY = "lm_unknown_key"
#: Timeout of the clients, in seconds.
TIMEOUT = 0.3
#: Allowed delay of a timeout on a busy machine, in seconds.
SLACK = 1.2
SOON = TIMEOUT + SLACK


@pytest.fixture
def client_of() -> Iterator[Callable[..., LeadMagicClient]]:
    """Return a function that creates clients with a short timeout and one attempt."""
    clients: list[LeadMagicClient] = []

    def build(url: str, **options: Any) -> LeadMagicClient:
        clients.append(LeadMagicClient(API_KEY, url, **{"timeout": TIMEOUT, "max_attempts": 1, **options}))
        return clients[-1]

    yield build
    for client in clients:
        client.close()
