"""Drafts: temporary files that replace their targets once complete. Drafts of killed processes are removed later."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import re
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol
from uuid import uuid4

from airflow_provider_leadmagic.api.text import temporary_file_errors

if TYPE_CHECKING:
    from collections.abc import Callable

#: On file systems without locks, a draft older than this, in seconds, is a leftover of a killed process.
LEFTOVER_AGE = 86_400.0
_DRAFT_NAME = re.compile(r"\..+\.(csv|jsonl|ndjson)\.[0-9a-f]{32}\.part", re.IGNORECASE)


class Draft(Protocol):
    """New content of a file, not visible under the file's name until it is committed."""

    @property
    def file(self) -> BinaryIO:
        """The open file to write to."""

    def stage(self, target: Any) -> None:
        """
        Prepare the complete draft for its commit. May be called again with another target.

        :param target: A path, or a function that uploads the draft.
        """

    def commit(self) -> None:
        """Replace the target in one step."""

    def discard(self) -> None:
        """Remove the draft. Does nothing after a commit."""


def draft_name(name: str) -> str:
    """Return a new name for a draft of a file."""
    return f".{name}.{uuid4().hex}.part"


def check_replaceable(target: Path) -> None:
    """
    Check that a rename can replace this file, without changing it.

    :param target: An existing file.
    :raises OSError: If it cannot be replaced.
    """
    mode = target.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file")
    if _mount_id(target) != _mount_id(target.parent):
        raise OSError(errno.EBUSY, "a mounted file cannot be replaced; mount its directory instead")
    try:
        # rmdir() never removes a file, but before it fails, the kernel checks whether this user may remove the file.
        target.rmdir()
    except NotADirectoryError:
        pass
    except PermissionError as error:
        if error.errno != errno.EPERM:
            raise
        problem = "the file is immutable, or belongs to another user and its directory is sticky"
        raise PermissionError(errno.EPERM, problem) from None


def _mount_id(path: Path) -> str:
    with suppress(OSError, AttributeError):  # only Linux has both O_PATH and /proc
        descriptor = os.open(path, os.O_PATH)
        try:
            found = re.search(r"mnt_id:\s*(\d+)", Path(f"/proc/self/fdinfo/{descriptor}").read_text())
        finally:
            os.close(descriptor)
        return found[1] if found else ""
    return ""


def check_directory(target: Path) -> None:
    """
    Check that a draft can be written and renamed next to a file.

    :raises OSError: If it cannot.
    """
    draft, trial = LocalDraft(target), target.with_name(draft_name(target.name))
    try:
        draft.file.write(bytes(io.DEFAULT_BUFFER_SIZE))  # an empty file fits even on a full disk
        draft.stage(trial)
        draft.commit()
        trial.unlink(missing_ok=True)  # another task may have removed it as a leftover
    finally:
        draft.discard()


def remove_leftovers(directory: Path) -> None:
    """Remove those drafts in a directory that no process has open. Errors are ignored."""
    with suppress(OSError):
        for entry in os.scandir(directory):
            if _DRAFT_NAME.fullmatch(entry.name):
                _remove_unused(Path(entry.path))


def _remove_unused(draft: Path) -> None:
    with suppress(OSError):  # already removed, or of another user
        descriptor = os.open(draft, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode) and _is_unused(descriptor):
                draft.unlink()
        finally:
            os.close(descriptor)


def _is_unused(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return os.fstat(descriptor).st_mtime < time.time() - LEFTOVER_AGE
    return True


class LocalDraft:
    """
    A temporary file next to its target. It is locked while in use: a draft without a lock is a leftover.

    :param target: The file to replace.
    :param models: Files from which a new file takes its owner and permissions if the target does not exist.
    """

    def __init__(self, target: Path, models: list[Path] | None = None) -> None:
        self._models = [target, *(models or [])]
        self._target = target
        self._path = target.with_name(draft_name(target.name))
        descriptor = _create_locked(self._path, 0o600 if any(map(os.path.exists, self._models)) else 0o666)
        self._lock = os.dup(descriptor)
        self.file: BinaryIO = os.fdopen(descriptor, "wb")

    def stage(self, target: Path) -> None:
        """Flush the draft to the disk, and give it the permissions of the file to replace."""
        self.file.flush()
        os.fsync(self._lock)
        _copy_permissions(self._models, self._lock)
        self._target = target

    def commit(self) -> None:
        """Rename the draft."""
        self._path.replace(self._target)
        self._close()

    def discard(self) -> None:
        """Remove the draft. Does nothing after a commit."""
        if not self.file.closed:
            self._path.unlink(missing_ok=True)
            self._close()

    def _close(self) -> None:
        with suppress(OSError):  # on a full disk, buffered data cannot be written
            self.file.close()
        os.close(self._lock)


def _create_locked(path: Path, mode: int) -> int:
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # another process removed it as a leftover before it was locked


def _copy_permissions(models: list[Path], descriptor: int) -> None:
    regular = [status for status in map(_status, models) if status and stat.S_ISREG(status.st_mode)]
    for status in regular[:1]:
        with suppress(OSError):  # only root can give files to other users
            os.fchown(descriptor, status.st_uid, status.st_gid)
        os.fchmod(descriptor, status.st_mode & 0o777)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


class UploadDraft:
    """An unnamed temporary file, uploaded once complete. The object becomes visible when the upload is committed."""

    def __init__(self) -> None:
        with temporary_file_errors():
            self.file: BinaryIO = tempfile.TemporaryFile(prefix="leadmagic-")  # noqa: SIM115 - discard closes it
        self._upload: Any = None

    def stage(self, target: Callable[[BinaryIO], Any]) -> None:
        """Upload the draft."""
        self._discard_upload()
        self.file.seek(0)
        self._upload = target(self.file)

    def commit(self) -> None:
        """Complete the upload. If the storage does not support uncommitted uploads, it is already complete."""
        if hasattr(self._upload, "commit"):
            self._upload.commit()
        self._upload = None

    def discard(self) -> None:
        """Abort the upload if it is not committed, and close the temporary file."""
        self._discard_upload()
        with suppress(OSError):
            self.file.close()

    def _discard_upload(self) -> None:
        if self._upload is not None:
            discard_upload(self._upload)
        self._upload = None


def discard_upload(upload: Any) -> None:
    """
    Abort an upload that is not committed.

    :param upload: A file opened by fsspec for writing.
    """
    with suppress(Exception):  # otherwise the destructor would complete a partial upload
        upload.closed = True
    with suppress(Exception):
        upload.discard()
