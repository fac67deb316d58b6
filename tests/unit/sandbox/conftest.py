from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def call(leadmagic_sandbox: Sandbox, session: requests.Session) -> Callable[..., requests.Response]:
    """Send a request to the sandbox with its API key, over a real socket."""

    def call(method: str, path: str, **options: Any) -> requests.Response:
        options.setdefault("headers", {"X-API-Key": leadmagic_sandbox.api_key})
        options.setdefault("allow_redirects", False)
        options.setdefault("timeout", 5)
        return session.request(method, leadmagic_sandbox.url + path, **options)

    return call


@pytest.fixture
def balance(call: Callable[..., requests.Response]) -> Callable[[], dict[str, Any]]:
    """Read the balance over HTTP."""
    return lambda: call("GET", "/v1/credits").json()


@pytest.fixture
def find_email(call: Callable[..., requests.Response]) -> Callable[..., requests.Response]:
    """Look up one email, for one credit."""

    def find_email(domain: str = "example.com") -> requests.Response:
        return call("POST", "/v1/people/email-finder", json={"full_name": "Jane Doe", "domain": domain})

    return find_email


@pytest.fixture
def submit(call: Callable[..., requests.Response]) -> Callable[..., requests.Response]:
    """Submit a bulk job: the given rows, or a number of generated rows at one credit each."""

    def submit(rows: int | list[Any] = 3, product: str = "email_finder", **fields: Any) -> requests.Response:
        if isinstance(rows, int):
            rows = [{"full_name": f"Lead {row}", "domain": "example.com"} for row in range(rows)]
        return call("POST", "/bulk/submit", json={"product": product, "rows": rows, **fields})

    return submit


@pytest.fixture
def read_job(call: Callable[..., requests.Response]) -> Callable[..., Any]:
    """Read a bulk job, or a path below it, over HTTP."""
    return lambda job_id, below="", **parameters: call("GET", f"/bulk/jobs/{job_id}{below}", params=parameters).json()


@pytest.fixture
def change_job(call: Callable[..., requests.Response]) -> Callable[..., requests.Response]:
    """Change a bulk job over HTTP, for example resume it."""
    return lambda job_id, change, body=None: call("POST", f"/bulk/jobs/{job_id}/{change}", json=body)


@pytest.fixture
def control(call: Callable[..., requests.Response]) -> Callable[..., requests.Response]:
    """Send a request to a control, without an API key."""

    def control(method: str, name: str, body: Any = None) -> requests.Response:
        return call(method, f"/_sandbox/{name}", json=body, headers={})

    return control
