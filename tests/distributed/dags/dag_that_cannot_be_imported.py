"""A DAG file that asks LeadMagic while it is parsed, and is told its own key."""

from __future__ import annotations

from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

LeadMagicHook("echo").get_credits()
