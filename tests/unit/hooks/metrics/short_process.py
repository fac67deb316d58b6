"""
Poll three connections, validate two email addresses and exit, like the short process of a task.

With ``--flush`` it makes OpenTelemetry send the collected metrics, which Airflow does since 3.1.
"""

from __future__ import annotations

import sys
from contextlib import suppress

from airflow_provider_leadmagic.exceptions import LeadMagicError
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from tests.support.airflow_stats import configure_stats

configure_stats()
for conn_id in ("frozen", "wrong_key", "wrong_key", "missing"):
    with suppress(LeadMagicError):
        LeadMagicHook(conn_id, max_attempts=1).get_credits()
for _ in range(2):
    LeadMagicHook("frozen").enrich("email_validation", email="ada@example.com")
if "--flush" in sys.argv:
    from opentelemetry import metrics

    metrics.get_meter_provider().force_flush()
