"""A PostgreSQL server for one run of Airflow."""

from __future__ import annotations

import signal
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg2

from tests.distributed.system_server import SystemServer, create_for_unprivileged_user, find_program, run_as_owner

if TYPE_CHECKING:
    from pathlib import Path

USER = "airflow"


class PostgresServer(SystemServer):
    """A PostgreSQL server with one database, which accepts connections on loopback without a password."""

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast shutdown": SIGTERM would wait for clients to disconnect

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._programs = find_program("postgres").resolve().parent

    @property
    def address(self) -> str:
        """User, host and name of the database, as part of a URL."""
        return f"{USER}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start the server; the first start creates the database."""
        if not self.folder.exists():
            create_for_unprivileged_user(self.folder)
            self._run("initdb", "--auth=trust", "--username", USER, "--encoding=UTF8", "--no-locale", "-D", self.folder)
        super().start()

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Read from the database."""
        with closing(self._connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()

    def dump(self) -> str:
        """Return the whole database as text."""
        return self._run("pg_dump", "-h", "127.0.0.1", "-p", self.port, "-U", USER, "postgres")

    def _command(self) -> list[object]:
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "max_connections": 300,
            "fsync": "off",  # a power failure is not part of this test
        }
        flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return [self._programs / "postgres", "-D", self.folder, "-p", self.port, *flags]

    def _responds(self) -> bool:
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
            command,
            cwd=self.folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
            **run_as_owner(self.folder),
        )
        return done.stdout
