"""
Memory use of a process, from Linux's /proc.

The peak of ``getrusage()`` cannot be used, because a process inherits it from its parent.
"""

from __future__ import annotations

import re
from pathlib import Path


def memory(pid: int | str = "self") -> int:
    """Return the resident memory of a process in bytes."""
    return _read("VmRSS", pid)


def peak_memory(pid: int | str = "self") -> int:
    """Return the peak resident memory of a process in bytes."""
    return _read("VmHWM", pid)


def _read(field: str, pid: int | str) -> int:
    return int(re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) * 1024
