"""Pythons are found where they are, and only those that run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.matrix.pythons import find_python

if TYPE_CHECKING:
    from pathlib import Path

OWN = "{}.{}".format(*sys.version_info)


@pytest.fixture(autouse=True)
def no_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the Pythons of this machine."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))


def put_python(path: Path, script: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_the_one_that_runs_the_matrix_is_found() -> None:
    assert find_python(OWN) == sys.executable


def test_one_on_the_path_is_found(tmp_path: Path) -> None:
    path = put_python(tmp_path / "bin" / "python3.99", "echo 3.99")

    assert find_python("3.99") == path


def test_one_that_is_not_there_is_absent() -> None:
    assert find_python("3.99") is None


@pytest.mark.parametrize("script", ["echo not chosen for this folder >&2; exit 127", "echo 3.98", "echo 3.99; exit 1"])
def test_one_that_does_not_run_or_is_another_is_absent(tmp_path: Path, script: str) -> None:
    put_python(tmp_path / "bin" / "python3.99", script)

    assert find_python("3.99") is None


def test_one_that_pyenv_has_is_found_behind_a_shim_that_does_not_run(tmp_path: Path) -> None:
    put_python(tmp_path / "bin" / "python3.99", "exit 127")
    path = put_python(tmp_path / "pyenv" / "versions" / "3.99.1" / "bin" / "python3.99", "echo 3.99")

    assert find_python("3.99") == path
