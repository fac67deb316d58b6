"""Files on the local disk or in an object storage that Airflow supports, behind one protocol."""

from __future__ import annotations

import io
import os
import posixpath
import re
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol, cast

from airflow_provider_leadmagic.api.text import (
    TemporaryFileError,
    describe_value,
    redact,
    sentences,
    temporary_file_errors,
)
from airflow_provider_leadmagic.bulk import drafts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

LOCAL_PROTOCOLS = ("", "file", "local")


class StoredFile(Protocol):
    """One file, which may not exist yet."""

    @property
    def location(self) -> str:
        """The path or URL, as given."""

    @property
    def name(self) -> str:
        """The last part of the path."""

    def sibling(self, name: str) -> StoredFile:
        """Return another file in the same directory."""

    def is_same_file(self, other: StoredFile) -> bool:
        """Return whether two paths or URLs lead to the same file."""

    def open(self) -> BinaryIO:
        """Open the file for reading."""

    def check_replaceable(self) -> None:
        """Check, without changing anything, that a file of this name can be replaced, or created if there is none."""

    def remove_leftovers(self) -> None:
        """Remove the unfinished files of killed processes from the directory, whatever file they were for."""

    def draft(self, permissions_from: StoredFile | None = None) -> drafts.Draft:
        """
        Open a draft for new content of the file.

        :param permissions_from: Another file, whose permissions are copied if this file does not exist yet.
        """

    def stage(self, draft: drafts.Draft) -> None:
        """Prepare a complete draft to replace the file when it is committed."""

    def write_errors(self, problem: str, advice: str) -> AbstractContextManager[None]:
        """
        Convert OSErrors that occur while a draft is written: to a TemporaryFileError if the draft is a temporary file
        that will be uploaded, otherwise to a ValueError.

        :param problem: What fails, such as ``Cannot write output_path``.
        :param advice: A sentence to add.
        """


class LocalFile:
    """A file on the local disk. If the path is a symbolic link, its target is replaced, never the link itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.location = str(path)
        self.name = path.name

    @property
    def target(self) -> Path:
        """The path with symbolic links and ``..`` resolved."""
        return Path(os.path.realpath(self._path))

    def sibling(self, name: str) -> LocalFile:
        """Return another file in the same directory."""
        return LocalFile(self._path.with_name(name))

    def is_same_file(self, other: StoredFile) -> bool:
        """Return whether two paths lead to the same file, even through links or with different spellings."""
        if not isinstance(other, LocalFile):
            return False
        with suppress(OSError):  # one of them does not exist
            return self._path.samefile(other._path)
        return self.target == other.target

    def open(self) -> BinaryIO:
        """Open the file for reading."""
        return self._path.open("rb")

    def check_replaceable(self) -> None:
        """Check, without changing anything, that a file of this name can be replaced, or created if there is none."""
        target = self.target
        if target.exists():
            drafts.check_replaceable(target)
        drafts.check_directory(target)

    def remove_leftovers(self) -> None:
        """Remove the unfinished files of killed processes from the directory, whatever file they were for."""
        drafts.remove_leftovers(self.target.parent)

    def draft(self, permissions_from: StoredFile | None = None) -> drafts.LocalDraft:
        """Open a temporary file in the same directory."""
        return drafts.LocalDraft(
            self.target, [permissions_from.target] if isinstance(permissions_from, LocalFile) else []
        )

    def stage(self, draft: drafts.Draft) -> None:
        """Prepare a complete draft to replace the file when it is committed."""
        draft.stage(self.target)

    def write_errors(self, problem: str, advice: str) -> AbstractContextManager[None]:
        """Convert OSErrors that occur while the draft, which is in the same directory, is written."""
        return storage_errors_as(problem, self.location, advice, OSError)


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

    def sibling(self, name: str) -> ObjectFile:
        """Return another object with the same parent."""
        return ObjectFile(self._path.parent / name)

    def is_same_file(self, other: StoredFile) -> bool:
        """Return whether two URLs lead to the same object, even with different connections or spellings."""
        if not isinstance(other, ObjectFile) or type(self._storage) is not type(other._storage):
            return False
        if _normalized(self._key) != _normalized(other._key):
            return False
        return bool(self._storage == other._storage) or _is_same_object(self._info(), other._info())

    def open(self) -> BinaryIO:
        """Open the object for reading."""
        return cast("BinaryIO", self._path.open("rb"))

    def check_replaceable(self) -> None:
        """
        Check that an upload can replace the object, without changing anything.

        Uploads a test object under another name, then under this one, and discards both uploads before they take
        effect. If the storage cannot discard an upload, only the other name is tested, and the test object is removed.
        """
        if self._storage.isdir(self._key):
            raise IsADirectoryError
        trial = self.sibling(drafts.draft_name(self.name))
        upload = trial._upload(io.BytesIO(b"\n"))
        if self._storage.exists(trial._key):
            self._storage.rm_file(trial._key)
        else:
            upload.discard()
            self._upload(io.BytesIO(b"\n")).discard()

    def remove_leftovers(self) -> None:
        """Do nothing: a draft is a temporary file without a name."""

    def draft(self, permissions_from: StoredFile | None = None) -> drafts.UploadDraft:
        """Open a temporary file without a name."""
        return drafts.UploadDraft()

    def stage(self, draft: drafts.Draft) -> None:
        """Upload a complete draft, to replace the object when it is committed."""
        draft.stage(self._upload)

    def write_errors(self, problem: str, advice: str) -> AbstractContextManager[None]:
        """Convert OSErrors that occur while the draft, which is in the directory for temporary files, is written."""
        return temporary_file_errors()

    def _upload(self, content: BinaryIO) -> Any:
        # Do not upload under another name and rename the object: fsspec's mv() interprets names as glob patterns.
        upload = self._storage.open(self._key, "wb", autocommit=False)
        try:
            shutil.copyfileobj(content, upload)
            upload.close()
        except BaseException:
            drafts.discard_upload(upload)
            raise
        return upload

    def _info(self) -> dict[str, Any]:
        try:
            return dict(self._storage.info(self._key))
        except FileNotFoundError:
            return {}


def _normalized(key: str) -> str:
    return posixpath.normpath(f"/{key}").lstrip("/")


def _is_same_object(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Compare the metadata of an object from two connections: size, times, and whatever else both report."""
    known = (one.keys() & other.keys()) - {"name", "Key"}
    return bool(known) and all(one[name] == other[name] for name in known)


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
def storage_errors_as(
    problem: str, location: str, advice: str = "", errors: type[Exception] = Exception
) -> Iterator[None]:
    """
    Convert errors of a storage to one message: problem, reason, advice, and last the path, which may be long.

    :param problem: What fails, such as ``Cannot read input_path``.
    :param location: The path or URL.
    :param advice: A sentence to add.
    :param errors: The errors to convert. All by default, because each storage has its own classes.
    :raises ValueError: With this message.
    """
    try:
        yield
    except TemporaryFileError:
        raise
    except errors as error:
        text = sentences(f"{problem}: {reason_of(error)}".rstrip("."), advice)
        raise ValueError(f"{text} [{_without_secrets(location)}]") from error


def _stored_file(path: Any) -> StoredFile:
    return LocalFile(Path(path.path)) if path.protocol in LOCAL_PROTOCOLS else ObjectFile(path)


def _not_blank(argument: str, text: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError(f"{argument} must be a path or a URL; got {describe_value(text)}")
    return text


_URL_SECRETS = (
    (re.compile(r"(https?://[^\s?\"'<>]+)\?[^\s\"'<>]*", re.IGNORECASE), r"\1?***"),  # signed URLs
    (re.compile(r"(://)[^/@\s]*:[^/@\s]*@"), r"\1***@"),  # user and password
)
_NAMED_SECRET = re.compile(
    r"((?:signature|token|password|secret|credential|sig\b|(?:access|account)_?key)\w*[\"']?\s*[=:]\s*[\"']?)[^&\s\"',;]+",
    re.IGNORECASE,
)


def _without_secrets(text: str) -> str:
    for pattern, replacement in _URL_SECRETS:
        text = pattern.sub(replacement, text)
    return redact(text) or ""


def reason_of(error: Exception) -> str:
    """Return the reason for a storage error, without secrets and without a period at the end."""
    if isinstance(error, FileNotFoundError):
        return "no such file or directory"
    if isinstance(error, IsADirectoryError):
        return "is a directory"
    detail = error.strerror if isinstance(error, OSError) else None
    text = _NAMED_SECRET.sub(r"\1***", detail or str(error))
    return _without_secrets(text).rstrip(".") or type(error).__name__


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
