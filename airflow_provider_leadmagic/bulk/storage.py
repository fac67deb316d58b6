"""Files on the local disk or in an object storage that Airflow supports, behind one protocol."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol, cast

from airflow_provider_leadmagic.api.text import describe_value, redact

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

LOCAL_PROTOCOLS = ("", "file", "local")


class StoredFile(Protocol):
    """One file, which may not exist yet."""

    @property
    def location(self) -> str:
        """The path or URL, as given."""

    @property
    def name(self) -> str:
        """The last part of the path."""

    @property
    def identity(self) -> str:
        """Text that is equal for any two paths to the same file."""

    def sibling(self, name: str) -> StoredFile:
        """Return another file in the same directory."""

    def is_directory(self) -> bool:
        """Return whether the path is a directory."""

    def open(self) -> BinaryIO:
        """Open the file for reading."""

    def create(self) -> BinaryIO:
        """Open a new file for writing."""

    def move_to(self, target: StoredFile) -> None:
        """Rename the file within its directory, replacing the target."""

    def remove(self) -> None:
        """Remove the file if it exists."""

    def remove_siblings(self, name: re.Pattern[str]) -> None:
        """Remove leftover drafts of killed processes from the same directory."""


#: Age in seconds from which a draft is the leftover of a killed process. A newer one may still be written to.
LEFTOVER_AGE = 86_400.0


class LocalFile:
    """A file on the local disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.location = str(path)
        self.name = path.name

    @property
    def identity(self) -> str:
        """The path with symbolic links and ``..`` resolved."""
        return os.path.realpath(self._path)

    def sibling(self, name: str) -> LocalFile:
        """Return another file in the same directory."""
        return LocalFile(self._path.with_name(name))

    def is_directory(self) -> bool:
        """Return whether the path is a directory."""
        return self._path.is_dir()

    def open(self) -> BinaryIO:
        """Open the file for reading."""
        return self._path.open("rb")

    def create(self) -> BinaryIO:
        """Open a new file for writing, with the default permissions."""
        return self._path.open("wb")

    def move_to(self, target: StoredFile) -> None:
        """Rename the file atomically within its directory, replacing the target."""
        self._path.replace(cast("LocalFile", target)._path)

    def remove(self) -> None:
        """Remove the file if it exists."""
        self._path.unlink(missing_ok=True)

    def remove_siblings(self, name: re.Pattern[str]) -> None:
        """Remove leftover drafts of killed processes from the same directory."""
        long_ago = time.time() - LEFTOVER_AGE
        for leftover in self._path.parent.iterdir():
            if name.fullmatch(leftover.name) and leftover.lstat().st_mtime < long_ago:
                leftover.unlink(missing_ok=True)


class ObjectFile:
    """
    An object in a storage that Airflow supports.

    :param path: An ``ObjectStoragePath``.
    :raises ValueError: If Airflow does not support the storage.
    """

    def __init__(self, path: Any) -> None:
        self._path = path
        # Use the filesystem directly: on Airflow 3 most ObjectStoragePath methods ignore the connection.
        self._storage = path.fs
        self._key = path.path
        self.location = str(path)
        self.name = str(path.name)

    @property
    def identity(self) -> str:
        """The URL as Airflow writes it."""
        return str(self._path)

    def sibling(self, name: str) -> ObjectFile:
        """Return another object with the same parent."""
        return ObjectFile(self._path.parent / name)

    def is_directory(self) -> bool:
        """Return whether the key is a prefix of other objects."""
        return bool(self._storage.isdir(self._key))

    def open(self) -> BinaryIO:
        """Open the object for reading."""
        return cast("BinaryIO", self._path.open("rb"))

    def create(self) -> BinaryIO:
        """Open a new object for writing."""
        return cast("BinaryIO", self._path.open("wb"))

    def move_to(self, target: StoredFile) -> None:
        """Rename the object. Most storages do so by a server-side copy, without downloading it."""
        self._storage.mv(self._key, cast("ObjectFile", target)._key)

    def remove(self) -> None:
        """Remove the object if it exists."""
        if self._storage.exists(self._key):
            self._storage.rm_file(self._key)

    def remove_siblings(self, name: re.Pattern[str]) -> None:
        """Do nothing: an object does not exist until it is completely written."""


def find_file(argument: str, value: object) -> StoredFile:
    """
    Return the file at a path or URL.

    :param argument: Name of the argument, for error messages.
    :param value: A local path or a URL as text, or a path object.
    :raises ValueError: If it is not a path, or its storage is not supported by Airflow.
    """
    if isinstance(value, str) and "://" not in value:
        return LocalFile(Path(_not_blank(argument, value)))
    from airflow_provider_leadmagic.compat.imports import ObjectStoragePath

    if isinstance(value, str):
        with storage_errors_as(f"Cannot use {argument}", value):
            return _stored_file(ObjectStoragePath(value))
    if isinstance(value, ObjectStoragePath):
        return _stored_file(value)
    if isinstance(value, os.PathLike):
        return LocalFile(Path(os.fsdecode(value)))
    raise ValueError(f"{argument} must be a path or a URL; got {describe_value(value)}")


@contextmanager
def storage_errors_as(problem: str, location: str) -> Iterator[None]:
    """
    Convert errors of a storage to one message: the problem, the reason, and last the path, which may be long.

    :param problem: What fails, such as ``Cannot read input_path``.
    :param location: The path or URL.
    :raises ValueError: With this message.
    """
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        raise ValueError(f"{problem}: {_reason(error)}. [{redact(location)}]") from error


def _stored_file(path: Any) -> StoredFile:
    return LocalFile(Path(path.path)) if path.protocol in LOCAL_PROTOCOLS else ObjectFile(path)


def _not_blank(argument: str, text: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError(f"{argument} must be a path or a URL; got {describe_value(text)}")
    return text


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file or directory"
    if isinstance(error, IsADirectoryError):
        return "is a directory"
    detail = error.strerror if isinstance(error, OSError) else None
    return detail or (redact(str(error)) or type(error).__name__).rstrip(".")


Format = Literal["csv", "jsonl"]

FORMATS: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def format_of(argument: str, file: StoredFile, *, may_be_gzip: bool = False) -> Format:
    """
    Return the format of a file by its suffix.

    :param argument: Name of the argument, for the error message.
    :param may_be_gzip: Whether ``.gz`` may follow the suffix.
    :raises ValueError: If the suffix is not supported.
    """
    name = file.name.lower()
    suffix = PurePath(name.removesuffix(".gz") if may_be_gzip else name).suffix
    if suffix not in FORMATS:
        more = ", also with .gz" if may_be_gzip else ""
        raise ValueError(f"{argument} must end in {', '.join(FORMATS)}{more}; got {redact(file.location)}")
    return FORMATS[suffix]
