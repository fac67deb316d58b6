"""What the tests against a hostile server share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings

from airflow_provider_leadmagic.client import LeadMagicClient

# The same examples each time, as a build must not fail by chance; HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=100, database=None)
settings.register_profile("explore", deadline=None, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

API_KEY = "lm_a_key_nobody_issued"
#: Seconds a client of these tests waits for an answer.
TIMEOUT = 0.3
#: Seconds that a busy machine may take to notice that the time is up.
SLACK = 1.2
SOON = TIMEOUT + SLACK


@pytest.fixture
def client_of() -> Iterator[Callable[..., LeadMagicClient]]:
    """Give a function that builds clients which are impatient, and try once."""
    clients: list[LeadMagicClient] = []

    def build(url: str, **options: Any) -> LeadMagicClient:
        clients.append(LeadMagicClient(API_KEY, url, **{"timeout": TIMEOUT, "max_attempts": 1, **options}))
        return clients[-1]

    yield build
    for client in clients:
        client.close()
