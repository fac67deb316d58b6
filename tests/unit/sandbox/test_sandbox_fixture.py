from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

PLUGIN = "airflow_provider_leadmagic.sandbox.pytest_plugin"
CHECKOUT = Path(__file__).parents[3]


def run_python(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=30, check=False, **options
    )


def test_the_connection_points_to_the_sandbox(leadmagic_sandbox):
    assert os.environ["AIRFLOW_CONN_LEADMAGIC_DEFAULT"] == leadmagic_sandbox.connection_json
    assert json.loads(leadmagic_sandbox.connection_json) == {
        "conn_type": "leadmagic",
        "password": "sandbox-key-for-tests",
        "host": leadmagic_sandbox.url,
    }


@pytest.mark.parametrize("test", ["first", "second"])
def test_each_test_gets_a_fresh_account(leadmagic_sandbox, test, call):
    assert leadmagic_sandbox.credits == Decimal(1000)
    assert leadmagic_sandbox.requests == []
    assert call("GET", "/v1/credits").json()["is_frozen"] is False
    leadmagic_sandbox.set_credits(1)
    leadmagic_sandbox.freeze()
    leadmagic_sandbox.fail_next("*", status=503, times=None)


def test_the_sandbox_listens_on_loopback_only(leadmagic_sandbox):
    assert leadmagic_sandbox.url.startswith("http://127.0.0.1:")


def test_without_the_extra_the_fixture_names_what_to_install(tmp_path):
    (tmp_path / "conftest.py").write_text("import sys\nsys.modules['fastapi'] = None\n")
    (tmp_path / "test_it.py").write_text("def test_it(leadmagic_sandbox): pass\n")
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    result = run_python("-m", "pytest", "-p", PLUGIN, "--rootdir", ".", cwd=tmp_path, env=environment)
    assert result.returncode == 1
    assert "pip install 'airflow-provider-leadmagic[sandbox]'" in result.stdout
    assert "Traceback" not in result.stdout


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        (PLUGIN, {"fastapi", "uvicorn", "pydantic", "requests", "airflow"}),
        ("airflow_provider_leadmagic.sandbox.command", {"fastapi", "uvicorn", "pydantic", "requests", "airflow"}),
        ("airflow_provider_leadmagic.sandbox.sandbox", {"airflow", "requests"}),
    ],
)
def test_a_module_imports_only_what_it_needs(module, unwanted):
    result = run_python("-c", f"import sys, {module}; print(*sys.modules)", cwd=CHECKOUT)
    assert unwanted.isdisjoint(result.stdout.split()), result.stderr
