"""Build distributions of the package."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def build(kind: str, source: Path, folder: Path) -> Path:
    """
    Build a distribution and return its path.

    :param kind: ``wheel`` or ``sdist``.
    :param source: The source directory.
    :param folder: The output directory.
    """
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    [built] = folder.glob({"wheel": "*.whl", "sdist": "*.tar.gz"}[kind])
    return built
