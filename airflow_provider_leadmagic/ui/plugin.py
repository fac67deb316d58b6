"""
Add the page "LeadMagic" to Airflow's menu (Airflow 3.1+). The entry point ``airflow.plugins`` names this module.

Every Airflow process loads this module. It imports the rest of the page only when the page is first opened.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

#: Path of the page on the API server. Airflow shows the page in an iframe under ``/plugin/leadmagic``.
URL_PREFIX = "/leadmagic"


class LazyApp:
    """The ASGI application of the page, which is imported at the first request."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        module = await asyncio.to_thread(import_module, "airflow_provider_leadmagic.ui.app")
        await module.app(scope, receive, send)


_APPS = ({"name": "LeadMagic", "url_prefix": URL_PREFIX, "app": LazyApp()},)
# Without a leading slash, because Airflow's base URL may contain a path.
_VIEWS = ({"name": "LeadMagic", "href": f"{URL_PREFIX[1:]}/", "destination": "nav", "url_route": "leadmagic"},)


def is_enabled() -> bool:
    """Return whether this Airflow can show the page, and ``[leadmagic] ui`` leaves it on."""
    return hasattr(AirflowPlugin, "external_views") and conf.getboolean("leadmagic", "ui", fallback=True)


class LeadMagicPlugin(AirflowPlugin):
    """The page and its entry in the menu; nothing if it is switched off."""

    name = "leadmagic"
    fastapi_apps = list(_APPS) if is_enabled() else []
    external_views = list(_VIEWS) if is_enabled() else []
