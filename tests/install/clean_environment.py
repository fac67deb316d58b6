"""
A virtual environment with an Airflow installed under its constraints, and nothing else.

The files in ``constraints/`` were resolved by uv for each Airflow and its usual extras as of its release date. They
replace Airflow's own constraint files, which are longer and would have to be downloaded.
"""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CONSTRAINTS = Path(__file__).parent / "constraints"
DAGS = Path(__file__).parent / "dags"
VERSIONS = sorted(path.stem.removeprefix("airflow-") for path in CONSTRAINTS.iterdir())
#: Seconds that each command may take.
TIMEOUT = 600


def constraints_of(airflow: str) -> dict[str, str]:
    """Return the version of each package in the constraints of an Airflow."""
    lines = (CONSTRAINTS / f"airflow-{airflow}.txt").read_text().splitlines()
    return dict(line.lower().split("==") for line in lines)


def stored_in(database: Path, statement: str) -> dict[str, Any]:
    """Return the rows that a statement selects in the database of an Airflow, as pairs."""
    with closing(sqlite3.connect(database)) as connection:
        return dict(connection.execute(statement).fetchall())


class CleanEnvironment:
    """
    A virtual environment, and an ``AIRFLOW_HOME`` for it.

    :param airflow: Version of Airflow, whose constraints apply.
    :param interpreter: Python interpreter for the environment.
    :param folder: Folder for both.
    """

    def __init__(self, airflow: str, interpreter: str, folder: Path) -> None:
        self.airflow = airflow
        self.home = folder / "home"
        self.home.mkdir()
        self.bin = folder / "environment" / "bin"
        self.variables = self._variables()
        _uv("venv", "--seed", "--python", interpreter, folder / "environment")  # with pip, as users have it

    def install(self, *arguments: str) -> str:
        """Install packages under the constraints of this Airflow, and return the output of uv."""
        constraints = CONSTRAINTS / f"airflow-{self.airflow}.txt"
        return _uv("pip", "install", "--python", self.bin / "python", "--constraint", constraints, *arguments)

    def packages(self) -> dict[str, str]:
        """Return the version, or the origin, of every installed package."""
        lines = _uv("pip", "freeze", "--python", self.bin / "python").splitlines()
        return dict(re.split("==| @ ", line, maxsplit=1) for line in lines)

    def run(self, command: str, *arguments: str) -> str:
        """Run a command of the environment, and return its output."""
        return _run([self.bin / command, *arguments], self.home, self.variables)

    @contextmanager
    def running(self, command: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command of the environment in the background, and check that it succeeds."""
        log = self.home / f"{command}.log"
        with log.open("w") as output:
            command_line = [self.bin / command, *arguments]
            process = subprocess.Popen(command_line, cwd=self.home, env=self.variables, stdout=output, stderr=output)
            try:
                yield process
                process.wait(TIMEOUT)
            finally:
                process.kill()
                process.wait()
        assert process.returncode == 0, log.read_text()

    def _variables(self) -> dict[str, str]:
        # The user's own Airflow or Python must not leak in through environment variables.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
        return inherited | {
            "PATH": f"{self.bin}{os.pathsep}{inherited.get('PATH', '')}",
            "NO_PROXY": "127.0.0.1,localhost",
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }


def _uv(*arguments: str | Path) -> str:
    return _run([sys.executable, "-m", "uv", *arguments], Path.cwd(), dict(os.environ))


def _run(command: list[str | Path], folder: Path, variables: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=TIMEOUT)
    # The full output, because the environment is deleted after its tests.
    assert done.returncode == 0, f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}"
    return done.stdout or done.stderr  # uv lists what it installed on standard error
