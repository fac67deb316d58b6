"""Builds what people install."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def build(kind: str, source: Path, folder: Path) -> Path:
    """
    Build a distribution.

    :param kind: ``wheel`` or ``sdist``.
    :param source: The folder to build it from.
    :param folder: Where to put it.
    """
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    [built] = folder.glob({"wheel": "*.whl", "sdist": "*.tar.gz"}[kind])
    return built
