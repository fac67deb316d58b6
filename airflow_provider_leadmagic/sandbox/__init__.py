"""
A LeadMagic API on this machine, for demos, tests, and users' own DAG tests. It spends no real credits.

Importing this package is cheap and needs no extra: the command line and the pytest plugin do so wherever the provider
is installed. What serves the API is imported by :func:`load_sandbox`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox


def load_sandbox() -> type[Sandbox]:
    """
    Import the class that serves the API.

    :raises ImportError: if FastAPI or uvicorn is missing; the message says what to install.
    """
    try:
        from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    except ImportError as error:
        message = f"the LeadMagic sandbox needs more: install airflow-provider-leadmagic[sandbox] ({error})"
        raise ImportError(message) from error
    return Sandbox
