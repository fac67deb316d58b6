"""A DAG file that asks LeadMagic while it is parsed, and is told its own key."""

from __future__ import annotations

# The scheduler looks for the word "dag" and the word "airflow" to tell DAG files from others.
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

LeadMagicHook("echo").read_balance()
