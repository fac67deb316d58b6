"""
A local stand-in for LeadMagic's API, for demos, tests, and users' own DAG tests. It spends no real credits.

Importing this package is cheap and does not need the ``[sandbox]`` extra, because the command line and the pytest
plugin import it wherever the provider is installed. :func:`load_sandbox` imports the server, which needs the extra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox


def load_sandbox() -> type[Sandbox]:
    """
    Import and return the :class:`~airflow_provider_leadmagic.sandbox.sandbox.Sandbox` class.

    :raises ImportError: If FastAPI or uvicorn is not installed; the message names the extra to install.
    """
    try:
        from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    except ImportError as error:
        message = f"Sandbox dependencies are missing: pip install 'airflow-provider-leadmagic[sandbox]' ({error})"
        raise ImportError(message) from error
    return Sandbox
