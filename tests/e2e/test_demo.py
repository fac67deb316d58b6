"""``python -m demo`` shows check, sensor and enrichment by class name, then claims, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import pytest
import requests

from tests.support.airflow_home import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

#: What the demo must print, in this order, with any lines between.
EXPECTED_LINES = (
    r"\] CheckCreditsOperator has logged a warning, because the credits are low:$",
    r"^ +Task log: Credits low: 2 spendable, warn_below is 1,000",
    r"  wait_for_credits +SufficientCreditsSensor +deferred +balance: 2$",
    r"\] SufficientCreditsSensor waits: 5 leads can cost 5 credits, and the account has only 2\.$",
    r"^ +Task log: Waiting for credits: 3 short \(2 spendable, 5 required\)",
    r"\] The demo tops up the account by 100 credits\. The balance is now 102\.$",
    r"\] SufficientCreditsSensor has succeeded, because the balance covers 5 credits\. The enrichment starts\.$",
    r"^ +Task log: Credits sufficient: 102 spendable, 5 required",
    r"  enrich_leads +BulkEnrichmentOperator +success +balance: 98$",
    r"\] BulkEnrichmentOperator has written the results to a CSV file\.",
    r"^ +Ada Lovelace +ada-lovelace@example\.com +1$",
    r"^ +Otto Notfound +- +0$",
    r"\] DONE: the run ended with state success\. Bulk jobs submitted: 1\. Credits spent: 4\. Credits left: 98\.$",
    r"\] Two DAGs claim 4 credits each, the most they can spend\. The account now has only 6\.$",
    r"^ +Task log: Credits sufficient: 6 spendable, 4 required",
    r"^ +Task log: Bulk job not submitted yet\. Not enough credits: \d spendable, 4 claimed by 1 run, 4 required",
    r"\] DONE: the runs ended with states success and success\. Credits left: 2\.$",
)


def test_the_demo_shows_check_sensor_enrichment_and_claims_in_this_order(tmp_path: Path) -> None:
    demo = Demo(tmp_path)

    exit_code = demo.run_to_end()

    remaining = iter(demo.lines)
    missing = [text for text in EXPECTED_LINES if not any(re.search(text, line) for line in remaining)]
    assert missing == [], "\n".join(demo.lines)
    assert exit_code == 0
    assert demo.leftovers() == []


@pytest.mark.any_airflow
def test_a_demo_that_is_interrupted_leaves_nothing_behind(tmp_path: Path) -> None:
    demo = Demo(tmp_path)

    exit_code = demo.run_to_end(interrupt_at="Triggering the DAG")

    assert demo.lines[-1].endswith("] Interrupted. Everything that the demo started has been stopped.")
    assert exit_code == 130
    assert demo.leftovers() == []


class Demo:
    """
    Runs the demo as a user does, and records which processes it starts.

    :param folder: Becomes the temporary folder of the demo.
    """

    def __init__(self, folder: Path) -> None:
        self.lines: list[str] = []
        self._folder = folder
        self._homes: set[str] = set()
        self._processes: set[psutil.Process] = set()

    def run_to_end(self, interrupt_at: str | None = None) -> int:
        """
        Run the demo and return its exit code.

        :param interrupt_at: Press Ctrl-C when a line contains this text.
        """
        environment = {**os.environ, "TMPDIR": str(self._folder)}
        environment.pop("LEADMAGIC_API_KEY", None)
        command = [sys.executable, "-W", "ignore", "-m", "demo"]
        began = time.monotonic()
        with subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True) as demo:
            try:
                self._follow(demo, interrupt_at)
            finally:
                demo.terminate()  # the demo stops what it has started; without effect if it has ended
        print("\n".join([*self.lines, f"The demo took {time.monotonic() - began:.1f} s in all."]))
        return demo.returncode

    def leftovers(self) -> list[object]:
        """List the processes, open ports and files that the demo has left behind."""
        running = [process for process in self._processes if process.is_running()]
        processes = [process for process in running if process.status() != psutil.STATUS_ZOMBIE]
        urls = {url for line in self.lines for url in re.findall(r"http://127\.0\.0\.1:\d+", line)}
        homes = self._homes - {os.environ.get("AIRFLOW_HOME", "")}  # which processes inherit until they get their own
        assert homes, "no process of the demo had an AIRFLOW_HOME"
        return [*processes, *filter(_is_listening, urls), *filter(os.path.exists, homes), *self._folder.iterdir()]

    def _follow(self, demo: subprocess.Popen[str], interrupt_at: str | None) -> None:
        process = psutil.Process(demo.pid)
        for line in demo.stdout or ():
            self.lines.append(line.rstrip())
            with suppress(psutil.NoSuchProcess):
                self._processes.update(process.children(recursive=True))
            for child in self._processes:
                with suppress(psutil.Error, KeyError):
                    self._homes.add(child.environ()["AIRFLOW_HOME"])
            if interrupt_at and interrupt_at in line:
                demo.send_signal(signal.SIGINT)
        demo.wait()


def _is_listening(url: str) -> bool:
    with suppress(requests.ConnectionError):
        requests.get(url, timeout=10)
        return True
    return False
