from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def call(leadmagic_sandbox: Sandbox, session: requests.Session) -> Callable[..., requests.Response]:
    """Call the sandbox with its key, over a real socket."""

    def call(method: str, path: str, **options: Any) -> requests.Response:
        options.setdefault("headers", {"X-API-Key": leadmagic_sandbox.api_key})
        options.setdefault("allow_redirects", False)
        options.setdefault("timeout", 5)
        return session.request(method, leadmagic_sandbox.url + path, **options)

    return call


@pytest.fixture
def balance(call: Callable[..., requests.Response]) -> Callable[[], dict[str, Any]]:
    """Read the balance as a client does."""
    return lambda: call("GET", "/v1/credits").json()


@pytest.fixture
def find_email(call: Callable[..., requests.Response]) -> Callable[..., requests.Response]:
    """Buy one email for one credit."""

    def find_email(domain: str = "example.com") -> requests.Response:
        return call("POST", "/v1/people/email-finder", json={"full_name": "Jane Doe", "domain": domain})

    return find_email


@pytest.fixture
def control(call: Callable[..., requests.Response]) -> Callable[..., requests.Response]:
    """Use a control, without a key."""

    def control(method: str, name: str, body: Any = None) -> requests.Response:
        return call(method, f"/_sandbox/{name}", json=body, headers={})

    return control
