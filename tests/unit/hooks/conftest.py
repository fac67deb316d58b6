"""What the tests of the hook share."""

from __future__ import annotations

import pytest


@pytest.fixture
def wrong_key(leadmagic_sandbox, connect):
    """Give a hook whose connection ``lead`` has a key that nobody issued."""
    return connect(host=leadmagic_sandbox.url)
