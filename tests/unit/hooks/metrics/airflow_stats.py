"""What an Airflow process does for its metrics when it begins, so that a test can do it again."""

from __future__ import annotations

from airflow_provider_leadmagic.compat.imports import Stats


def configure_stats() -> None:
    """Have Airflow read the settings of its metrics anew."""
    try:
        from airflow.sdk.observability import stats as _  # noqa: F401
    except ImportError:  # before Airflow 3.2 the class does it when it is made
        kind = type(Stats)
        Stats.instance = None
        if hasattr(kind, "factory"):
            del kind.factory
        kind.__init__(Stats)
    else:  # what the import of this module does, which is how it comes about in a triggerer
        from airflow.sdk.serde import _register

        _register()
