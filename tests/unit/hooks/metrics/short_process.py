"""
Poll three connections and exit, like the short process of a task.

With ``--flush`` it makes OpenTelemetry send the collected metrics, which Airflow does since 3.1.
"""

from __future__ import annotations

import sys
from contextlib import suppress

from airflow_provider_leadmagic.exceptions import LeadMagicError
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from tests.unit.hooks.metrics.airflow_stats import configure_stats

configure_stats()
for conn_id in ("frozen", "wrong_key", "wrong_key", "missing"):
    with suppress(LeadMagicError):
        LeadMagicHook(conn_id, max_attempts=1).get_credits()
if "--flush" in sys.argv:
    from opentelemetry import metrics

    metrics.get_meter_provider().force_flush()
