"""A test that hangs fails after its time limit, and the other tests run."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import LIMITS
from tests.support.airflow_home import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

HANGING = """
import asyncio, pathlib, socket, threading
import pytest

@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server
    pathlib.Path(__file__).with_name("stopped").touch()

async def hang_with_a_thread():
    await asyncio.to_thread(threading.Event().wait, 3)

@pytest.mark.timeout(1)
def test_that_hangs(server):
    {hangs}

def test_after_it():
    pass
"""
LIMITS_OF_KINDS = f"""
import pytest

@pytest.mark.parametrize("kind", [pytest.param(kind, marks=getattr(pytest.mark, kind)) for kind in {list(LIMITS)}])
def test_of_this_kind(request, kind):
    assert request.node.get_closest_marker("timeout").args == ({LIMITS}[kind],)
"""


def run(test: Path, *options: str) -> str:
    """Run a test file with the configuration of this repository, and return the output."""
    config = ("-c", str(REPOSITORY / "pyproject.toml"), "--rootdir", str(test.parent), "-p", "tests.conftest")
    command = [sys.executable, "-m", "pytest", "-W", "ignore", "-p", "no:cacheprovider", *config, *options, str(test)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=100).stdout


@pytest.mark.e2e
@pytest.mark.any_airflow
@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["in one process", "in a worker of xdist"])
@pytest.mark.parametrize(
    "hangs",
    [
        "threading.Event().wait()",
        "server.accept()",
        "asyncio.run(asyncio.sleep(600))",
        "asyncio.run(hang_with_a_thread())",
    ],
)
def test_a_test_that_hangs_fails_with_its_fixtures_torn_down_and_the_next_one_runs(
    tmp_path: Path, hangs: str, options: tuple[str, ...]
) -> None:
    test = tmp_path / "test_hanging.py"
    test.write_text(HANGING.format(hangs=hangs))

    output = run(test, *options)

    assert "Failed: Timeout (>1.0s) from pytest-timeout." in output
    assert "1 failed, 1 passed" in output
    assert (tmp_path / "stopped").exists()


def test_slow_kinds_of_tests_have_a_longer_limit(tmp_path: Path) -> None:
    test = tmp_path / "test_kinds.py"
    test.write_text(LIMITS_OF_KINDS)

    assert f"{len(LIMITS)} passed" in run(test)
