"""Run a server that the operating system's packages provide, on loopback and in a private folder."""

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
#: Debian's folder of PostgreSQL programs that are not on the PATH.
DEBIAN_FOLDER = "/usr/lib/postgresql/*/bin"


class SystemServer:
    """
    A server that can be stopped and started again.

    :param folder: Folder for its data and its log; the server runs as the owner of the folder.
    """

    name: str
    #: Signal for a clean shutdown, which differs between Redis and PostgreSQL.
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = folder / self.name
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, and return when it responds."""
        with self.log_file.open("ab") as output:
            command = [str(part) for part in self._command()]
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,  # Ctrl-C must not reach it: Airflow is stopped before its servers
                **run_as_owner(self.folder),
            )
        wait_until(self._responds, 30, f"{self.name} to respond", self._check_process)

    def stop(self) -> None:
        """Stop the server, by SIGKILL if necessary."""
        if self._process is None:
            return
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=5)
        self._process = None

    def restart(self) -> None:
        """Stop the server, which closes all connections, and start it again."""
        self.stop()
        self.start()

    @property
    def log_file(self) -> Path:
        """File with the output of the server."""
        return self.folder.with_suffix(".log")

    def _command(self) -> list[object]:
        raise NotImplementedError

    def _responds(self) -> bool:
        raise NotImplementedError

    def _check_process(self) -> None:
        if self._process and self._process.poll() is not None:
            tail = self.log_file.read_text(errors="replace")[-2000:]
            raise LocalAirflowError(f"{self.name} exited with code {self._process.returncode}:\n{tail}")


def find_program(name: str) -> Path:
    """
    Find a program of the operating system's packages.

    :raises LocalAirflowError: If it is not installed; the message contains the command that installs it.
    """
    debian = sorted(map(str, Path("/").glob(DEBIAN_FOLDER.lstrip("/"))), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *debian]))
    if found is None:
        raise LocalAirflowError(f"these tests need {name}, which is not installed. On Debian: {HOW_TO_INSTALL}")
    return Path(found)


def create_for_unprivileged_user(folder: Path) -> None:
    """Create a folder; as root, give it to an unprivileged user, because PostgreSQL refuses to run as root."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() == 0:
        user = _unprivileged_user()
        os.chown(folder, user.pw_uid, user.pw_gid)


def run_as_owner(folder: Path) -> dict[str, Any]:
    """Return arguments for ``subprocess`` to run as the owner of a folder; only root can change the user."""
    if os.geteuid() != 0:
        return {}
    status = folder.stat()
    return {"user": status.st_uid, "group": status.st_gid, "extra_groups": []}


def _unprivileged_user() -> pwd.struct_passwd:
    known = {user.pw_name: user for user in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]
