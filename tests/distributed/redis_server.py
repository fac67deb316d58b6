"""A Redis server for one run of Airflow, with a log of all commands."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import redis

from tests.distributed.system_server import SystemServer, create_for_unprivileged_user, find_program

if TYPE_CHECKING:
    from pathlib import Path


class RedisServer(SystemServer):
    """A Redis server without persistence: a restart loses all messages, the worst case for Celery."""

    name = "redis"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._server, self._client = find_program("redis-server"), find_program("redis-cli")
        self._monitor: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """URL for Celery."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def command_log(self) -> Path:
        """File with every command of every client, except those in the first moment after a restart."""
        return self.folder.with_suffix(".commands")

    def start(self) -> None:
        """Start the server, and log all commands; on the first start, before any client connects."""
        create_for_unprivileged_user(self.folder)
        super().start()
        command = [str(self._client), "-p", str(self.port), "MONITOR"]
        with self.command_log.open("ab") as output:
            self._monitor = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0
            )

    def stop(self) -> None:
        """Stop the server and its log."""
        super().stop()
        if self._monitor:
            self._monitor.kill()
            self._monitor.wait(timeout=5)
            self._monitor = None

    def dump(self) -> str:
        """Return the current content as text."""
        with self._connect() as connection:
            return "\n".join(f"{key!r} {_read(connection, key)!r}" for key in connection.scan_iter())

    def _command(self) -> list[object]:
        return [self._server, "--port", self.port, "--bind", "127.0.0.1", "--save", "", "--dir", self.folder]

    def _responds(self) -> bool:
        try:
            with self._connect() as connection:
                return bool(connection.ping())
        except redis.ConnectionError:
            return False

    def _connect(self) -> Any:
        return redis.Redis.from_url(self.url)


def _read(connection: Any, key: bytes) -> Any:
    reads = {
        b"string": lambda: connection.get(key),
        b"list": lambda: connection.lrange(key, 0, -1),
        b"hash": lambda: connection.hgetall(key),
        b"set": lambda: connection.smembers(key),
        b"zset": lambda: connection.zrange(key, 0, -1, withscores=True),
        b"none": lambda: None,  # deleted since the scan
    }
    return reads[connection.type(key)]()
