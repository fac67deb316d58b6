"""Fixtures for bulk files: finished jobs, an object storage, and a context without root privileges."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_leadmagic.api.jobs import BulkJob
from tests.support.mounts import Mounts

NOBODY = 65534


@pytest.fixture
def finished(client, leadmagic_sandbox) -> Callable[..., BulkJob]:
    """Return a function that submits rows and returns the job, which the sandbox has finished by then."""
    leadmagic_sandbox.set_credits(1000)

    def submit(rows, product="email_finder"):
        job = client.bulk.submit(product, rows, idempotency_key=uuid4().hex)
        return client.bulk.get(job.job_id)

    return submit


class Storage(MemoryFileSystem):
    """An object storage that can only be reached through Airflow."""

    store: ClassVar = {}
    cachable = False
    url = "memory://bucket"

    def put_text(self, name, text):
        self.pipe_file(f"/bucket/{name}", text.encode())

    def texts(self):
        return {name.removeprefix("/bucket/"): self.cat_file(name).decode() for name in sorted(self.store)}


def attach(fs: Any, protocol: str, conn_id: str | None = None) -> None:
    """Register a file system in Airflow, as providers do."""
    try:
        from airflow.sdk.io import store
    except ImportError:  # Airflow 2
        from airflow.io import store
    store._STORE_CACHE.pop(f"{protocol}-{conn_id}" if conn_id else protocol, None)
    store.attach(protocol, conn_id, fs=fs)


@pytest.fixture
def storage() -> Storage:
    """Return an empty object storage that is registered in Airflow."""
    storage = Storage()
    storage.store.clear()
    storage.pseudo_dirs[:] = [""]
    attach(storage, "memory")
    return storage


@pytest.fixture
def shared_directory() -> Iterator[Path]:
    """Return a directory that every user can read. Pytest's are private, and ``TMPDIR`` may be private too."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        path = Path(directory)
        path.chmod(0o755)
        yield path


@pytest.fixture
def without_privileges() -> Callable[[], AbstractContextManager[None]]:
    """Return a context manager in which file permissions apply even if the tests run as root."""

    @contextmanager
    def nobody():
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(user)

    return nobody


@pytest.fixture
def mounts() -> Mounts:
    """Return mounts that no other process and no other thread sees."""
    return Mounts()
