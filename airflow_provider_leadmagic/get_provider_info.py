"""What Airflow's providers manager learns about this package, without importing anything else of it."""

from __future__ import annotations

from typing import Any

_INTEGRATION = "LeadMagic"

#: The one description of the connection form. Airflow 3.2+ reads it from here; for older versions the hook's
#: methods translate it.
CONNECTION_TYPE: dict[str, Any] = {
    "connection-type": "leadmagic",
    "hook-class-name": "airflow_provider_leadmagic.hooks.leadmagic.LeadMagicHook",
    "hook-name": "LeadMagic",
    "ui-field-behaviour": {
        "hidden-fields": ["login", "port", "schema"],
        "relabeling": {"password": "API key", "host": "API base URL"},
        "placeholders": {
            "host": "https://api.leadmagic.io",
            "password": "from app.leadmagic.io, Settings, API",
        },
    },
    "conn-fields": {
        "timeout": {
            "label": "Request timeout (seconds)",
            "description": "How long to wait for a response. 30 when left empty.",
            "schema": {"type": ["number", "null"], "minimum": 1},
        },
    },
}


def get_provider_info() -> dict[str, Any]:
    """Describe the provider: the entry point ``apache_airflow_provider``."""
    return {
        "package-name": "airflow-provider-leadmagic",
        "name": "LeadMagic",
        "description": "Read the LeadMagic credit balance, gate DAGs by it, spend safely.",
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://leadmagic.io/docs",
                "tags": ["service"],
            }
        ],
        "hooks": [_modules("hooks.leadmagic")],
        "operators": [_modules("operators.bulk", "operators.credits")],
        "sensors": [_modules("sensors.credits")],
        "triggers": [_modules("triggers.bulk", "triggers.credits")],
        "connection-types": [CONNECTION_TYPE],
        "cli": ["airflow_provider_leadmagic.cli.commands.get_leadmagic_cli_commands"],
        "extra-links": [
            f"airflow_provider_leadmagic.links.{name}" for name in ("LeadMagicBillingLink", "LeadMagicUsageLink")
        ],
    }


def _modules(*names: str) -> dict[str, Any]:
    return {
        "integration-name": _INTEGRATION,
        "python-modules": [f"airflow_provider_leadmagic.{name}" for name in names],
    }
