"""The pytest plugin with the fixture ``leadmagic_sandbox``, for testing DAGs without spending credits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_leadmagic.sandbox import load_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox


@pytest.fixture(scope="session")
def _leadmagic_server() -> Iterator[Sandbox]:
    try:
        sandbox = load_sandbox()()
    except ImportError as error:
        pytest.fail(str(error), pytrace=False)
    with sandbox:
        yield sandbox


@pytest.fixture
def leadmagic_sandbox(_leadmagic_server: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """
    Return a running sandbox with a fresh account of 1,000 credits, and point ``leadmagic_default`` to it.

    One server runs for the whole test session and is reset before each test. The connection is set through the
    environment variable ``AIRFLOW_CONN_LEADMAGIC_DEFAULT``, for the duration of the test. If the ``[sandbox]`` extra is
    not installed, the test fails with a message that names it.
    """
    _leadmagic_server.reset()
    monkeypatch.setenv("AIRFLOW_CONN_LEADMAGIC_DEFAULT", _leadmagic_server.connection_json)
    return _leadmagic_server
