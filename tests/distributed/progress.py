"""How the distributed run says how far it has come."""

from __future__ import annotations

import time


def say(line: str) -> None:
    """Print a line of progress."""
    print(f"[{time.strftime('%H:%M:%S')}] {line}", flush=True)
