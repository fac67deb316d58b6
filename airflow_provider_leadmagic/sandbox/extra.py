"""The way to the sandbox for those who cannot know whether its extra is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox


def load_sandbox() -> type[Sandbox]:
    """
    Import the sandbox.

    :raises ImportError: with a sentence on what to install, if FastAPI or uvicorn are missing.
    """
    try:
        from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    except ImportError as error:
        sentence = f"the LeadMagic sandbox needs more: install airflow-provider-leadmagic[sandbox] ({error})"
        raise ImportError(sentence) from error
    return Sandbox
