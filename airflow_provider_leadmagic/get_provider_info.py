"""Provider metadata for Airflow's providers manager. Imports no other module of this package."""

from __future__ import annotations

from typing import Any

_INTEGRATION = "LeadMagic"

#: The connection form. Airflow 3.2+ reads it from here; for older versions, the hook builds its form from it.
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
            "description": "Maximum time for a whole response. 30 if empty.",
            "schema": {"type": ["number", "null"], "minimum": 1},
        },
        "proxies": {
            "label": "Proxies (JSON)",
            "description": 'For example {"https": "http://proxy.example:3128"}. Environment variables if empty.',
            "schema": {"type": ["string", "null"]},
        },
        "verify": {
            "label": "CA certificates",
            "description": "Path of a file or folder on all workers and the triggerer. Default certificates if empty.",
            "schema": {"type": ["string", "null"]},
        },
        "headers": {
            "label": "Additional headers (JSON)",
            "description": 'For example {"X-Tenant": "marketing"}, for a gateway. Their values are not hidden here.',
            "schema": {"type": ["string", "null"]},
        },
    },
}

#: Airflow's configuration: the section ``[leadmagic]``.
_CONFIG: dict[str, Any] = {
    "leadmagic": {
        "description": "Settings of the LeadMagic provider.",
        "options": {
            "instance_name": {
                "description": (
                    "Name of this Airflow instance, if several use the same LeadMagic account.\n"
                    "It is a part of the keys of bulk jobs: if two instances have the same name, DAG IDs and run IDs,\n"
                    "one joins or cancels the jobs of the other. It must be the same on all workers. Do not\n"
                    "change it while bulk jobs are running. If it is empty, the URL of the web interface is used:\n"
                    "``[api] base_url``, or ``[webserver] base_url`` on Airflow 2. If that is empty or leads to\n"
                    "localhost, ``[core] execution_api_server_url`` is used if its host is public. Without any of\n"
                    "these, the keys contain the time at which the run started.\n"
                ),
                "version_added": "0.1.0",
                "type": "string",
                "example": "staging",
                "default": "",
            },
            "ui": {
                "description": (
                    "Whether the page LeadMagic is shown in the menu of Airflow 3.1 and newer.\n"
                    "After a change, restart the API server.\n"
                ),
                "version_added": "0.1.0",
                "type": "boolean",
                "example": None,
                "default": "True",
            },
        },
    },
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider metadata. This is the entry point ``apache_airflow_provider``."""
    return {
        "package-name": "airflow-provider-leadmagic",
        "name": "LeadMagic",
        "description": "Check LeadMagic credits, make tasks wait for them, and run bulk enrichment jobs.",
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
        "triggers": [_modules("triggers.bulk", "triggers.claims", "triggers.credits")],
        "connection-types": [CONNECTION_TYPE],
        "config": _CONFIG,
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
