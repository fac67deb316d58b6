"""Progress messages of the distributed run."""

from __future__ import annotations

import time


def log_progress(line: str) -> None:
    """Print a line with the time of day."""
    print(f"[{time.strftime('%H:%M:%S')}] {line}", flush=True)
