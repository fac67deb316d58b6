"""The command line: ``python -m airflow_provider_leadmagic``, and on Airflow 3.2+ ``airflow leadmagic`` as well."""

from __future__ import annotations
