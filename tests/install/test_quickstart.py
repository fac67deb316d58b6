"""The quickstart of the README, as printed, in an empty home folder of an environment that contains only Airflow."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.install.clean_environment import TIMEOUT, stored_in
from tests.support.pages import python_of, text_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.install.clean_environment import CleanEnvironment

#: As in the README: the text before the commands names the file of the DAG.
QUICKSTART = re.compile(r"save this DAG as `~/(\S+)`[^`]*```\n(pip install '(\S+)\[sandbox\]'\n.*?)```", re.DOTALL)


def quickstart() -> tuple[str, str, str]:
    """Return the path of the DAG file in the home folder, the commands, and the name of the package in them."""
    [found] = QUICKSTART.findall(text_of("README.md"))
    return found


def test_the_quickstart_has_at_most_six_lines() -> None:
    _, commands, package = quickstart()

    assert package == "airflow-provider-leadmagic"
    assert len(commands.splitlines()) <= 6


@pytest.mark.install
def test_the_quickstart_works_as_printed(clean: CleanEnvironment, wheel: Path, tmp_path: Path) -> None:
    dag_file, commands, package = quickstart()
    (tmp_path / dag_file).parent.mkdir(parents=True)
    (tmp_path / dag_file).write_text(python_of("README.md")[0])

    log = run(commands.replace(package, str(wheel), 1), tmp_path, clean.bin)

    assert "Waiting for credits: 400 short (100 spendable, 500 required)" in log
    assert "Credits sufficient: 600 spendable, 500 required" in log
    assert stored_in(tmp_path / "airflow" / "airflow.db", "SELECT task_id, state FROM task_instance") == {
        "check_credits": "success",
        "wait_for_credits": "success",
    }


def run(commands: str, home: Path, bin_folder: Path) -> str:
    """
    Run commands in a shell whose PATH and HOME are those of a user, then end what they left in the background.

    :return: Their output.
    """
    variables = {"HOME": str(home), "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}", "NO_PROXY": "127.0.0.1"}
    inherited = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "LANG", "LC_"))}
    log = home / "log.txt"
    with log.open("w") as output:
        shell = ["bash", "-e", "-c", commands]
        process = subprocess.Popen(
            shell, cwd=home, env=inherited | variables, stdout=output, stderr=output, start_new_session=True
        )
        try:
            assert process.wait(TIMEOUT) == 0, log.read_text()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
    return log.read_text()
