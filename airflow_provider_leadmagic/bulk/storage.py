"""Where a file is: on this machine, or in an object storage that Airflow knows."""

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


class Place(Protocol):
    """One file, which may not exist yet."""

    @property
    def text(self) -> str:
        """The path or URL, as it was given."""

    @property
    def name(self) -> str:
        """The last part of it."""

    @property
    def identity(self) -> str:
        """The same for two places that are one file."""

    def sibling(self, name: str) -> Place:
        """Name another file in the same folder."""

    def is_folder(self) -> bool:
        """Tell whether a folder is there instead."""

    def open(self) -> BinaryIO:
        """Open it for reading."""

    def create(self) -> BinaryIO:
        """Open it for writing; nothing is there yet."""

    def move_to(self, target: Place) -> None:
        """Give it the name of another place in the same folder, whatever was there."""

    def remove(self) -> None:
        """Remove it, if it is there."""

    def remove_siblings(self, name: re.Pattern[str]) -> None:
        """Remove what a process that was killed left in the same folder."""


#: Seconds after which a draft is taken for one whose process was killed. A younger one may still be written.
OLDEST_DRAFT = 86_400.0


class LocalFile:
    """
    A file on this machine.

    :param path: Its path.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.text = str(path)
        self.name = path.name

    @property
    def identity(self) -> str:
        """The path without links and detours."""
        return os.path.realpath(self._path)

    def sibling(self, name: str) -> LocalFile:
        """Name another file in the same folder."""
        return LocalFile(self._path.with_name(name))

    def is_folder(self) -> bool:
        """Tell whether a folder is there instead."""
        return self._path.is_dir()

    def open(self) -> BinaryIO:
        """Open it for reading."""
        return self._path.open("rb")

    def create(self) -> BinaryIO:
        """Open it for writing, with the permissions that files usually get."""
        return self._path.open("wb")

    def move_to(self, target: Place) -> None:
        """Give it the name of another place in the same folder, in one step."""
        self._path.replace(cast("LocalFile", target)._path)

    def remove(self) -> None:
        """Remove it, if it is there."""
        self._path.unlink(missing_ok=True)

    def remove_siblings(self, name: re.Pattern[str]) -> None:
        """Remove what a process that was killed left in the same folder."""
        long_ago = time.time() - OLDEST_DRAFT
        for leftover in self._path.parent.iterdir():
            if name.fullmatch(leftover.name) and leftover.lstat().st_mtime < long_ago:
                leftover.unlink(missing_ok=True)


class ObjectFile:
    """
    An object in a storage that Airflow knows.

    :param path: An ObjectStoragePath.
    :raises ValueError: If Airflow does not know the storage.
    """

    def __init__(self, path: Any) -> None:
        self._path = path
        # Asked itself: most methods of the path of Airflow 3 go to a storage of their own, past the connection.
        self._storage = path.fs
        self._key = path.path
        self.text = str(path)
        self.name = str(path.name)

    @property
    def identity(self) -> str:
        """The URL as Airflow writes it."""
        return str(self._path)

    def sibling(self, name: str) -> ObjectFile:
        """Name another object in the same folder."""
        return ObjectFile(self._path.parent / name)

    def is_folder(self) -> bool:
        """Tell whether there are objects below it."""
        return bool(self._storage.isdir(self._key))

    def open(self) -> BinaryIO:
        """Open it for reading."""
        return cast("BinaryIO", self._path.open("rb"))

    def create(self) -> BinaryIO:
        """Open it for writing."""
        return cast("BinaryIO", self._path.open("wb"))

    def move_to(self, target: Place) -> None:
        """Give it another name: most storages copy it for that, without sending it through this machine."""
        self._storage.mv(self._key, cast("ObjectFile", target)._key)

    def remove(self) -> None:
        """Remove it, if it is there."""
        if self._storage.exists(self._key):
            self._storage.rm_file(self._key)

    def remove_siblings(self, name: re.Pattern[str]) -> None:
        """Do nothing: an object that was not written to its end is not there."""


def find_file(argument: str, value: object) -> Place:
    """
    Read a path.

    :param argument: Its name, for messages.
    :param value: A local path or a URL as text, or a path object of any kind.
    :raises ValueError: If it is no path, or of a storage that Airflow does not know.
    """
    if isinstance(value, str) and "://" not in value:
        return LocalFile(Path(_not_blank(argument, value)))
    from airflow_provider_leadmagic.compat.imports import ObjectStoragePath

    if isinstance(value, str):
        with storage_errors_as(f"{argument} {redact(value)} cannot be used"):
            return _in_storage(ObjectStoragePath(value))
    if isinstance(value, ObjectStoragePath):
        return _in_storage(value)
    if isinstance(value, os.PathLike):
        return LocalFile(Path(os.fsdecode(value)))
    raise ValueError(f"{argument} must be a path or a URL; got {describe_value(value)}")


@contextmanager
def storage_errors_as(problem: str) -> Iterator[None]:
    """
    Turn what a storage raises into one sentence.

    :param problem: What does not work; the reason is put behind it.
    :raises ValueError: With this sentence.
    """
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        raise ValueError(f"{problem}: {_reason(error)}") from error


def _in_storage(path: Any) -> Place:
    return LocalFile(Path(path.path)) if path.protocol in LOCAL_PROTOCOLS else ObjectFile(path)


def _not_blank(argument: str, text: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError(f"{argument} must be a path or a URL; got {describe_value(text)}")
    return text


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file or folder"
    if isinstance(error, IsADirectoryError):
        return "it is a folder"
    detail = error.strerror if isinstance(error, OSError) else None
    return detail or redact(str(error)) or type(error).__name__


Format = Literal["csv", "jsonl"]

FORMATS: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def format_of(argument: str, place: Place) -> Format:
    """
    Tell the format of a file.

    :param argument: Name of the argument, for the message.
    :param place: Where the file is.
    :raises ValueError: If its name ends in none of the suffixes we know.
    """
    suffix = PurePath(place.name).suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"{argument} must end in {', '.join(FORMATS)} to tell its format; got {redact(place.text)}")
    return FORMATS[suffix]
