"""Mount file systems that no other process and no other thread sees: in a mount namespace that ends with the test."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
CLONE_NEWNS = 0x20000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000


class Mounts:
    """Mounts in a private namespace. Call the methods from a function that is passed to :meth:`run`."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def run(self, function: Callable[[], T]) -> T:
        """Run a function in a mount namespace of its own, and return its result."""
        directory, namespace = Path.cwd(), os.open("/proc/thread-self/ns/mnt", os.O_RDONLY)
        try:
            self._call(self._libc.unshare, CLONE_NEWNS)
            self._call(self._libc.mount, None, b"/", None, MS_REC | MS_PRIVATE, None)
        except OSError as error:
            pytest.skip(f"needs root: {error}")
        try:
            return function()
        finally:
            self._call(self._libc.setns, namespace, CLONE_NEWNS)
            os.close(namespace)
            os.chdir(directory)

    def bind(self, source: Path, target: Path) -> None:
        """Mount a file or a directory on another one."""
        self._call(self._libc.mount, bytes(source), bytes(target), None, MS_BIND, None)

    def tmpfs(self, target: Path, size: str) -> None:
        """Mount an empty file system on a directory."""
        self._call(self._libc.mount, b"tmpfs", bytes(target), b"tmpfs", 0, f"size={size}".encode())

    def _call(self, function: Callable[..., int], *arguments: object) -> None:
        if function(*arguments):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
