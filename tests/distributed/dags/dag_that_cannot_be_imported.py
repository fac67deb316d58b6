"""A DAG file that calls LeadMagic while it is parsed, and whose error response contains the API key."""

from __future__ import annotations

from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

LeadMagicHook("echo").get_credits()
