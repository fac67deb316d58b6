"""Run the console script of the sandbox in a subprocess."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[3]
SCRIPT = "import sys; from airflow_provider_leadmagic.sandbox.command import main; sys.exit(main())"


@contextmanager
def running(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Start the script, and kill the process at the end."""
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()
