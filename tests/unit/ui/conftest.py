"""The page needs the API server of Airflow 3.1."""

from __future__ import annotations

from dev.local_airflow import AIRFLOW_SERIES

collect_ignore = [] if AIRFLOW_SERIES >= (3, 1) else ["test_page.py", "test_readings.py", "test_tasks.py"]
