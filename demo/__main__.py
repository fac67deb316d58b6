"""
Watch a real Airflow hold an enrichment until the LeadMagic balance covers it, and then pay for it once.

``python -m demo`` runs the story and ends; ``python -m demo --ui`` leaves Airflow up for browsing until Ctrl-C.
With ``LEADMAGIC_API_KEY`` set (and ``LEADMAGIC_BASE_URL``, if need be), the real API is asked for the real balance, and
nothing is spent.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from dev.local_airflow import AIRFLOW_VERSION, IS_AIRFLOW_3, LocalAirflow, LocalAirflowError, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

REPOSITORY = Path(__file__).resolve().parent.parent
EXAMPLES = REPOSITORY / "example_dags"
BULK, READ_ONLY = "example_leadmagic_bulk_enrichment", "read_the_balance"
#: Examples with asset watchers, which Airflow 2 does not have.
WATCHING = ("example_leadmagic_start_when_topped_up", "example_leadmagic_low_credits_alert")
TOO_FEW, TOP_UP = 2, 100
RUN_LIMIT = 120
_began = time.monotonic()


def main() -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--ui", action="store_true", help="leave Airflow up for browsing until Ctrl-C")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal must not leave Airflow behind
        signal.signal(number, lambda caught, _: sys.exit(128 + caught))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell started us with Ctrl-C ignored
    try:
        api_key = os.environ.get("LEADMAGIC_API_KEY")
        return _browse() if arguments.ui else _read_real_balance(api_key) if api_key else _tell_the_story()
    except KeyboardInterrupt:
        say("Interrupted; everything that was started has been stopped.")
        return 130
    except LocalAirflowError as error:
        say(f"FAILED: {error}")
        return 1


def say(line: str) -> None:
    """Print a progress line with the seconds since the start."""
    print(f"[{time.monotonic() - _began:5.1f} s] {line}", flush=True)


def _tell_the_story() -> int:
    with Sandbox(credits=TOO_FEW) as sandbox:
        sandbox.bulk_speed(rows_per_second=1)
        say(f"A local LeadMagic is up on {sandbox.url} with {sandbox.credits} credits. No real credit will be spent.")
        with _airflow(sandbox.connection_json, [_example(BULK)]) as airflow:
            run_id = _start_run(airflow, BULK)
            watch = RunWatch(airflow, BULK, run_id, sandbox)
            watch.until_task_is("enrich_leads", "deferred")
            say("5 leads can cost 5 credits: nothing is ordered yet. The task waits in the triggerer, not on a worker.")
            looks = len(sandbox.requests_to("/v1/credits"))
            watch.until(lambda: len(sandbox.requests_to("/v1/credits")) > looks, "another look at the balance")
            sandbox.add_credits(TOP_UP)
            say(f"Somebody tops the account up by {TOP_UP} credits: {sandbox.credits} now.")
            watch.until(lambda: bool(sandbox.bulk_jobs), "the job to be ordered")
            say("The credits cover it: one job is ordered. While LeadMagic works on it, the task waits once more.")
            watch.until_run_ends()
            _show_file(airflow.home / f"found_{run_id}.csv")
            return _sum_up(watch, sandbox)


def _show_file(path: Path) -> None:
    if not path.is_file():
        return
    say("The results are in a file, in the order of the leads. The last one has no email, which is free:")
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            email, price = row["lm_email"] or "-", row["lm_credits_consumed"]
            print(f"          {row['full_name']:<15} {email:<32} {price}", flush=True)


def _sum_up(watch: RunWatch, sandbox: Sandbox) -> int:
    spent = TOO_FEW + TOP_UP - sandbox.credits
    jobs = len(sandbox.bulk_jobs)
    good = watch.state == "success" and jobs == 1 and spent > 0
    say(
        f"{'DONE' if good else 'FAILED'}: the run ended {watch.state}; jobs ordered: {jobs}, credits spent: {spent}, "
        f"left: {sandbox.credits}."
    )
    return 0 if good else 1


def _read_real_balance(api_key: str) -> int:
    say("LEADMAGIC_API_KEY is set: the real LeadMagic is asked for its balance. Nothing is spent.")
    connection = {"conn_type": "leadmagic", "password": api_key, "host": os.environ.get("LEADMAGIC_BASE_URL", "")}
    with _airflow(json.dumps(connection), [REPOSITORY / "demo" / "dags" / f"{READ_ONLY}.py"]) as airflow:
        run_id = _start_run(airflow, READ_ONLY)
        watch = RunWatch(airflow, READ_ONLY, run_id, None)
        watch.until_run_ends()
        say(_last_word(airflow))
        say(f"{'DONE' if watch.state == 'success' else 'FAILED'}: the check ended {watch.state}.")
        return 0 if watch.state == "success" else 1


def _last_word(airflow: LocalAirflow) -> str:
    """Find what the check said: the balance, or why there is none."""
    lines = [line for path, text in airflow.logs() if READ_ONLY in str(path) for line in text.splitlines()]
    found = [match.group() for line in lines for pattern in _LAST_WORDS if (match := re.search(pattern, line))]
    return found[-1] if found else "The check said nothing about the balance."


_LAST_WORDS = (
    r"[\d,.]+ credits spendable on connection 'leadmagic_default'",
    r"(?:GET http|Connection ')[^\"]+ (?:was answered|got no response|cannot be used)[^\"]*",
)


def _browse() -> int:
    examples = [path for path in EXAMPLES.glob("*.py") if IS_AIRFLOW_3 or path.stem not in WATCHING]
    with Sandbox(credits=TOO_FEW) as sandbox, _airflow(sandbox.connection_json, examples) as airflow:
        sandbox.bulk_speed(rows_per_second=1)
        airflow.run("pools", "set", "leadmagic_account", "1", "Whoever spends from the account", "--include-deferred")
        airflow.wait_for_dag(BULK)
        if IS_AIRFLOW_3:
            say(f"Airflow is up on {airflow.url} (no login). Trigger {BULK} and see it wait.")
            say("Top up by 500 or more, and example_leadmagic_start_when_topped_up starts by itself.")
        else:
            say(f"Airflow is up, without its web server, in {airflow.home}. Trigger {BULK} and see it wait.")
        say(
            f"Top up with: curl -X POST {sandbox.url}/_sandbox/credits -H 'Content-Type: application/json' "
            "-d '{\"add\": 100}'"
        )
        say("Ctrl-C ends both.")
        signal.pause()
        return 0


def _example(dag_id: str) -> Path:
    return EXAMPLES / f"{dag_id}.py"


@contextmanager
def _airflow(connection_json: str, dag_files: Sequence[Path]) -> Iterator[LocalAirflow]:
    """Run an Airflow whose home folder is its own, so that two demos do not meet, and goes with it."""
    say(f"Starting Airflow {AIRFLOW_VERSION}: scheduler, triggerer{', API server' if IS_AIRFLOW_3 else ''}, SQLite ...")
    settings = {
        "AIRFLOW_CONN_LEADMAGIC_DEFAULT": connection_json,
        "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "True",
        "LEADMAGIC_EXAMPLE_POKE_INTERVAL": "5",
    }
    (REPOSITORY / ".build").mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="demo-", dir=REPOSITORY / ".build", ignore_cleanup_errors=True) as name:
        home = Path(name)
        settings["LEADMAGIC_EXAMPLE_FOLDER"] = name
        with LocalAirflow(home, _copied(dag_files, home / "dags"), settings) as airflow:
            yield airflow


def _copied(files: Sequence[Path], folder: Path) -> Path:
    folder.mkdir()
    for file in files:
        shutil.copy(file, folder)
    return folder


def _start_run(airflow: LocalAirflow, dag_id: str) -> str:
    airflow.wait_for_dag(dag_id)
    say(f"Airflow is up{f' on {airflow.url}' if IS_AIRFLOW_3 else ''}. Starting {dag_id}.")
    return airflow.trigger(dag_id)


class RunWatch:
    """
    Follows one run and prints what changes.

    :param airflow: Where it runs.
    :param dag_id: The DAG.
    :param run_id: The run.
    :param sandbox: Whose balance to show.
    """

    def __init__(self, airflow: LocalAirflow, dag_id: str, run_id: str, sandbox: Sandbox | None) -> None:
        self._airflow, self._dag_id, self._run_id, self._sandbox = airflow, dag_id, run_id, sandbox
        self._seen: dict[str, list[str]] = {}

    @property
    def state(self) -> str:
        """State of the run."""
        return self._airflow.run_state(self._dag_id, self._run_id)

    def until_task_is(self, task_id: str, state: str) -> None:
        """Wait for a task's state."""
        self.until(lambda: self._seen.get(task_id) == [state], f"{task_id} to be {state}")

    def until_run_ends(self) -> None:
        """Wait for the run's end."""
        self.until(lambda: self.state in ("success", "failed"), "the end of the run")
        self._print_changes()

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition, printing changes meanwhile."""
        wait_until(condition, RUN_LIMIT, what, self._print_changes)

    def _print_changes(self) -> None:
        states = self._airflow.task_states(self._dag_id, self._run_id)
        balance = f"   (balance: {self._sandbox.credits})" if self._sandbox else ""
        for task_id, state in states.items():
            if self._seen.get(task_id) != state and not {"waiting", "scheduled", "queued"} & set(state):
                say(f"  {task_id:<18} {', '.join(state):<10}{balance}")
        self._seen = states


if __name__ == "__main__":
    sys.exit(main())
