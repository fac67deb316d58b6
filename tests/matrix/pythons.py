"""Which Pythons there are on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def find_python(version: str) -> str | None:
    """
    Find a Python.

    :param version: Such as ``3.12``.
    :return: Path of one that runs; None if there is none.
    """
    return next((path for path in _candidates(version) if _runs_as(path, version)), None)


def _candidates(version: str) -> Iterator[str]:
    yield sys.executable
    if on_the_path := shutil.which(f"python{version}"):
        yield on_the_path
    # What pyenv puts on the path runs only where it was chosen for this folder; those beneath always do.
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}")))


def _runs_as(path: str, version: str) -> bool:
    program = "import sys; print('{}.{}'.format(*sys.version_info))"
    try:
        done = subprocess.run([path, "-c", program], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and done.stdout.strip() == version
