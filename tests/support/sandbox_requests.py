"""Summaries of the requests that a sandbox received."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox


def calls(sandbox: Sandbox) -> list[tuple[str, str]]:
    """Return method and path of each request, oldest first."""
    return [(request.method, request.path) for request in sandbox.requests]


def paths(sandbox: Sandbox) -> list[str]:
    """Return the path of each request, oldest first."""
    return [request.path for request in sandbox.requests]
