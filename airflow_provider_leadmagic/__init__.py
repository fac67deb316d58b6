"""Apache Airflow provider for LeadMagic, an enrichment API paid by credit."""

from __future__ import annotations

__version__ = "0.1.0"
