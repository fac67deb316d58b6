"""
An environment that holds an Airflow under its constraints, and nothing else until something is installed into it.

The files in ``constraints/`` are what uv resolved for each Airflow and the usual extras as of the day it came out: they
stand in for Airflow's own constraints, which are longer, and which a test should not have to fetch.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CONSTRAINTS = Path(__file__).parent / "constraints"
DAGS = Path(__file__).parent / "dags"
VERSIONS = sorted(path.stem.removeprefix("airflow-") for path in CONSTRAINTS.iterdir())
#: Seconds that one command may take.
PATIENCE = 600


def constraints_of(airflow: str) -> dict[str, str]:
    """Read the version of each package that an Airflow is constrained to."""
    lines = (CONSTRAINTS / f"airflow-{airflow}.txt").read_text().splitlines()
    return dict(line.lower().split("==") for line in lines)


class CleanEnvironment:
    """
    A virtual environment, and an ``AIRFLOW_HOME`` beside it.

    :param airflow: The version of Airflow.
    :param interpreter: The Python to make it of.
    :param folder: Where to make it.
    """

    def __init__(self, airflow: str, interpreter: str, folder: Path) -> None:
        self.airflow = airflow
        self.home = folder / "home"
        self.home.mkdir()
        self.bin = folder / "environment" / "bin"
        self.variables = self._variables()
        _uv("venv", "--python", interpreter, folder / "environment")

    def install(self, *arguments: str) -> str:
        """Install something under the constraints of this Airflow, and return what uv said of it."""
        constraints = CONSTRAINTS / f"airflow-{self.airflow}.txt"
        return _uv("pip", "install", "--python", self.bin / "python", "--constraint", constraints, *arguments)

    def packages(self) -> dict[str, str]:
        """Tell the version, or the origin, of everything that is installed."""
        lines = _uv("pip", "freeze", "--python", self.bin / "python").splitlines()
        return dict(re.split("==| @ ", line, maxsplit=1) for line in lines)

    def run(self, command: str, *arguments: str) -> str:
        """Run a command of the environment to its end, and return what it printed."""
        return _run([self.bin / command, *arguments], self.home, self.variables)

    @contextmanager
    def running(self, command: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command of the environment beside something else, and insist that it succeeds."""
        log = self.home / f"{command}.log"
        with log.open("w") as output:
            line = [self.bin / command, *arguments]
            process = subprocess.Popen(line, cwd=self.home, env=self.variables, stdout=output, stderr=output)
            try:
                yield process
                process.wait(PATIENCE)
            finally:
                process.kill()
                process.wait()
        assert process.returncode == 0, log.read_text()

    def _variables(self) -> dict[str, str]:
        # Nothing of an Airflow or a Python the user already has may shine through.
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
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=PATIENCE)
    # In full, as nothing else is left of an environment once its tests are over.
    assert done.returncode == 0, f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}"
    return done.stdout or done.stderr  # where uv says what it installed
