"""Fixtures for the tests of the hook."""

from __future__ import annotations

import pytest


@pytest.fixture
def wrong_key(leadmagic_sandbox, connect):
    """Return a hook whose connection ``lead`` has an invalid API key."""
    return connect(host=leadmagic_sandbox.url)
