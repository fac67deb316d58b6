"""Apache Airflow provider for LeadMagic, a data enrichment API that is paid for with credits."""

from __future__ import annotations

__version__ = "0.1.0"
