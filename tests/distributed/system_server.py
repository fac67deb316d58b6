"""A server of the operating system's packages, on loopback and in a private folder."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from dev.local_airflow import LocalAirflowError, free_port, wait_until

HOW_TO_INSTALL = "apt-get install -y --no-install-recommends postgresql redis-server"
#: Where Debian keeps what is not on the PATH.
HIDDEN_PROGRAMS = "/usr/lib/postgresql/*/bin"


class SystemServer:
    """
    One server, which can be stopped and started again.

    :param folder: Its data and its log; its owner runs the server.
    """

    name: str
    #: What ends it in order: Redis and PostgreSQL disagree on it.
    gentle = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = folder / self.name
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and return when it answers."""
        with self.log_file.open("ab") as output:
            command = [str(part) for part in self._command()]
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,  # Ctrl-C is for us: Airflow ends before what it stands on
                **owner_of(self.folder),
            )
        wait_until(self._answers, 30, f"{self.name} to answer", self._check_it_runs)

    def stop(self) -> None:
        """End it, by force if need be."""
        if self._process is None:
            return
        self._process.send_signal(self.gentle)
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=5)
        self._process = None

    def restart(self) -> None:
        """Cut everybody off who is connected, and start again."""
        self.stop()
        self.start()

    @property
    def log_file(self) -> Path:
        """What it says."""
        return self.folder.with_suffix(".log")

    def _command(self) -> list[object]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError

    def _check_it_runs(self) -> None:
        if self._process and self._process.poll() is not None:
            tail = self.log_file.read_text(errors="replace")[-2000:]
            raise LocalAirflowError(f"{self.name} ended with exit code {self._process.returncode}:\n{tail}")


def find_program(name: str) -> Path:
    """
    Find a program of the operating system's packages.

    :raises LocalAirflowError: If it is not installed; the message says how to.
    """
    hidden = sorted(map(str, Path("/").glob(HIDDEN_PROGRAMS.lstrip("/"))), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *hidden]))
    if found is None:
        raise LocalAirflowError(f"{name} is not installed, which these tests need. On Debian: {HOW_TO_INSTALL}")
    return Path(found)


def give_to_unprivileged(folder: Path) -> None:
    """Make a folder that whoever runs the servers owns; PostgreSQL refuses to be run by root."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() == 0:
        user = _unprivileged_user()
        os.chown(folder, user.pw_uid, user.pw_gid)


def owner_of(folder: Path) -> dict[str, Any]:
    """Tell a subprocess to run as the owner of a folder; only root has a choice."""
    if os.geteuid() != 0:
        return {}
    status = folder.stat()
    return {"user": status.st_uid, "group": status.st_gid, "extra_groups": []}


def _unprivileged_user() -> pwd.struct_passwd:
    known = {user.pw_name: user for user in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]
