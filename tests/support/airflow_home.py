"""
Create a temporary Airflow home for the tests, and set it before anything imports Airflow.

This is not in conftest.py, because pytest imports that file under two names and would create two homes.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

HOME = Path(tempfile.mkdtemp(prefix="leadmagic-tests-"))
if not os.environ.get("LEADMAGIC_TESTS_KEEP"):  # set it to keep the logs of a failed end-to-end run
    atexit.register(shutil.rmtree, HOME, ignore_errors=True)

REPOSITORY = Path(__file__).resolve().parents[2]
DAGS = HOME / "dags"
DAGS.mkdir()
(DAGS / "examples").symlink_to(REPOSITORY / "example_dags")
(DAGS / "tests").symlink_to(REPOSITORY / "tests" / "e2e" / "in_process" / "dags")

#: DAG files that Airflow 2 cannot import, because it has no asset watchers.
ONLY_ON_AIRFLOW_3 = ("start_when_topped_up", "low_credits_alert")
IGNORED = "\n".join(f".*{name}.*" for name in ONLY_ON_AIRFLOW_3) if version("apache-airflow").startswith("2.") else ""
(DAGS / ".airflowignore").write_text(IGNORED)

for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[name]
os.environ.update(
    AIRFLOW_HOME=str(HOME),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(DAGS),
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{HOME}/airflow.db",
)
