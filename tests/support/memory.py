"""
The memory of a process, as Linux counts it in /proc.

Not by ``getrusage()``, whose peak is inherited from the parent process.
"""

from __future__ import annotations

import re
from pathlib import Path


def memory(pid: int | str = "self") -> int:
    """Read the bytes that a process holds."""
    return _read("VmRSS", pid)


def peak_memory(pid: int | str = "self") -> int:
    """Read the most bytes that a process ever held."""
    return _read("VmHWM", pid)


def _read(field: str, pid: int | str) -> int:
    return int(re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) * 1024
