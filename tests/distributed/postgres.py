"""PostgreSQL for one run of Airflow."""

from __future__ import annotations

import signal
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg2

from tests.distributed.system_server import SystemServer, find_program, give_to_unprivileged, owner_of

if TYPE_CHECKING:
    from pathlib import Path

USER = "airflow"


class PostgresServer(SystemServer):
    """PostgreSQL with one database, for whose user no password is asked on loopback."""

    name = "postgres"
    gentle = signal.SIGINT  # "fast": SIGTERM would wait for everybody to leave

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._programs = find_program("postgres").resolve().parent

    @property
    def address(self) -> str:
        """Where the database is, for a URL of any driver."""
        return f"{USER}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start, with a new database the first time."""
        if not self.folder.exists():
            give_to_unprivileged(self.folder)
            self._run("initdb", "--auth=trust", "--username", USER, "--encoding=UTF8", "--no-locale", "-D", self.folder)
        super().start()

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Read from the database."""
        with closing(self._connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()

    def dump(self) -> str:
        """Copy the whole database as text."""
        return self._run("pg_dump", "-h", "127.0.0.1", "-p", self.port, "-U", USER, "postgres")

    def _command(self) -> list[object]:
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "max_connections": 300,
            "fsync": "off",  # what a power cut would do to the disk is no part of this
        }
        flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return [self._programs / "postgres", "-D", self.folder, "-p", self.port, *flags]

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg2.OperationalError:
            return False
        return True

    def _connect(self) -> Any:
        return psycopg2.connect(f"postgresql://{self.address}", connect_timeout=10)

    def _run(self, program: str, *arguments: object) -> str:
        command = [str(self._programs / program), *map(str, arguments)]
        done = subprocess.run(
            command, cwd=self.folder, check=True, capture_output=True, text=True, timeout=120, **owner_of(self.folder)
        )
        return done.stdout
