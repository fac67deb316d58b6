"""A DAG file without sensors: the baseline for the import cost of every candidate."""

from __future__ import annotations

from benchmarks.sensor_dags import build_dags

build_dags("bare", lambda *_: None)
