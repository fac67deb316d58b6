"""A DAG file without sensors: what each contender's is compared with."""

from __future__ import annotations

from benchmarks.waiting_dags import build_dags

build_dags("bare", lambda *_: None)
