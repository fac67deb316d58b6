"""Configure the metrics of Airflow as a new process does, so that a test can change the settings."""

from __future__ import annotations

from airflow_provider_leadmagic.compat.imports import Stats


def configure_stats() -> None:
    """Make Airflow read its metrics settings again."""
    try:
        from airflow.sdk.observability import stats as _  # noqa: F401
    except ImportError:  # before Airflow 3.2 the class reads them in its constructor
        stats_class = type(Stats)
        Stats.instance = None
        if hasattr(stats_class, "factory"):
            del stats_class.factory
        stats_class.__init__(Stats)
    else:  # what importing this module does; in a triggerer the import configures the metrics
        from airflow.sdk.serde import _register

        _register()
