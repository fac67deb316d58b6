"""
Run example DAGs that wait for credits in a real Airflow, against a local LeadMagic sandbox.

``python -m demo`` runs one that waits for a top-up, then two that claim credits, and ends. ``python -m demo --ui``
keeps Airflow running for browsing until Ctrl-C. With ``LEADMAGIC_API_KEY`` set (and ``LEADMAGIC_BASE_URL``, if needed),
``python -m demo`` instead reads the balance of the real account; ``--ui`` ignores it. The demo spends no real credits.
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
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from dev.local_airflow import AIRFLOW_VERSION, IS_AIRFLOW_3, LocalAirflow, LocalAirflowError, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

REPOSITORY = Path(__file__).resolve().parent.parent
EXAMPLES = REPOSITORY / "example_dags"
GATED, READ_ONLY = "example_leadmagic_gated_enrichment", "read_the_balance"
SHARED = "example_leadmagic_shared_account"
CLAIM_POOL = ("pools", "set", "leadmagic", "1", "Claims on LeadMagic credits")
#: Examples that need asset watchers, which Airflow 2 does not have.
WATCHING = ("example_leadmagic_start_when_topped_up", "example_leadmagic_low_credits_alert")
INITIAL_CREDITS, LEADS, TOP_UP = 2, 5, 100
#: Two DAGs claim 4 credits each. Half of their leads have no email address, and cost nothing.
SHARED_CREDITS, CLAIMED = 6, 4
RUN_LIMIT = 120
_started = time.monotonic()


def main() -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--ui", action="store_true", help="keep Airflow running for browsing until Ctrl-C")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal must not leave Airflow running
        signal.signal(number, lambda caught, _: sys.exit(128 + caught))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell starts with Ctrl-C ignored
    try:
        api_key = os.environ.get("LEADMAGIC_API_KEY")
        return _browse() if arguments.ui else _read_real_balance(api_key) if api_key else _run_gated_enrichment()
    except KeyboardInterrupt:
        say("Interrupted. Everything that the demo started has been stopped.")
        return 130
    except LocalAirflowError as error:
        say(f"FAILED: {error}")
        return 1


def say(line: str) -> None:
    """Print a progress line with the seconds since the start."""
    print(f"[{time.monotonic() - _started:5.1f} s] {line}", flush=True)


def _run_gated_enrichment() -> int:
    with Sandbox(credits=INITIAL_CREDITS) as sandbox:
        say(f"The LeadMagic sandbox is running on {sandbox.url}. No real credits are spent.")
        say(f"The account in the sandbox has {sandbox.credits} credits.")
        with _airflow(sandbox.connection_json, [EXAMPLES / f"{name}.py" for name in (GATED, SHARED)]) as airflow:
            run = RunWatch(airflow, GATED, _start_run(airflow, GATED), sandbox)
            _show_warning(run)
            _show_wait(run, sandbox)
            _show_top_up(run, sandbox)
            run.until_ended()
            is_good = [_show_results(run, sandbox, airflow.home), _show_claims(airflow, sandbox)]
            return 0 if all(is_good) else 1


def _show_warning(run: RunWatch) -> None:
    run.until_task_is("check_credits", "success")
    say("CheckCreditsOperator has logged a warning, because the credits are low:")
    run.quote("check_credits", "Credits low")


def _show_wait(run: RunWatch, sandbox: Sandbox) -> None:
    run.until_task_is("wait_for_credits", "deferred")
    balance = sandbox.credits
    say(f"SufficientCreditsSensor waits: {LEADS} leads can cost {LEADS} credits, and the account has only {balance}.")
    run.quote("wait_for_credits", "Waiting for credits")
    say("The sensor is deferred: it polls the balance in the triggerer and occupies no worker.")
    polls = len(sandbox.requests_to("/v1/credits"))
    run.until(lambda: len(sandbox.requests_to("/v1/credits")) > polls, "a poll from the triggerer")


def _show_top_up(run: RunWatch, sandbox: Sandbox) -> None:
    sandbox.add_credits(TOP_UP)
    say(f"The demo tops up the account by {TOP_UP} credits. The balance is now {sandbox.credits}.")
    run.until_task_is("wait_for_credits", "success")
    say(f"SufficientCreditsSensor has succeeded, because the balance covers {LEADS} credits. The enrichment starts.")
    run.quote("wait_for_credits", "Credits sufficient")


def _show_results(run: RunWatch, sandbox: Sandbox, folder: Path) -> bool:
    spent, jobs = INITIAL_CREDITS + TOP_UP - sandbox.credits, len(sandbox.bulk_jobs)
    path = folder / f"enriched_{run.run_id}.csv"
    if path.is_file():
        say("BulkEnrichmentOperator has written the results to a CSV file. The lead without an email cost nothing:")
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                email, price = row["lm_email"] or "-", row["lm_credits_consumed"]
                say_more(f"{row['full_name']:<15} {email:<32} {price}")
    good = run.state == "success" and jobs == 1 and spent > 0
    say(
        f"{'DONE' if good else 'FAILED'}: the run ended with state {run.state}. "
        f"Bulk jobs submitted: {jobs}. Credits spent: {spent}. Credits left: {sandbox.credits}."
    )
    return good


def _show_claims(airflow: LocalAirflow, sandbox: Sandbox) -> bool:
    airflow.run(*CLAIM_POOL)
    sandbox.set_credits(SHARED_CREDITS)
    say(f"Two DAGs claim {CLAIMED} credits each, the most they can spend. The account now has only {SHARED_CREDITS}.")
    sandbox.fail_next("/v1/people/email-finder", delay=3, times=CLAIMED)  # slow, so that the second DAG has to wait
    marketing = RunWatch(airflow, f"{SHARED}_marketing", airflow.trigger(f"{SHARED}_marketing"), sandbox)
    marketing.until_task_is("wait_for_credits", "success")
    marketing.quote("wait_for_credits", "Credits sufficient")
    sales = RunWatch(airflow, f"{SHARED}_sales", airflow.trigger(f"{SHARED}_sales"), sandbox)
    sales.until_task_is("enrich_leads", "deferred")
    say("The bulk job of the second DAG waits, because the first DAG holds credits until its enrichment has finished:")
    sales.quote("enrich_leads", "Bulk job not submitted yet")
    marketing.until_ended()
    sales.until_ended()
    good = (marketing.state, sales.state, sandbox.credits) == ("success", "success", SHARED_CREDITS - CLAIMED)
    say(
        f"{'DONE' if good else 'FAILED'}: the runs ended with states {marketing.state} and {sales.state}. "
        f"Credits left: {sandbox.credits}."
    )
    return good


def say_more(line: str) -> None:
    """Print a line that belongs to the progress line above it."""
    print(f"{'':12}{line}", flush=True)


def _read_real_balance(api_key: str) -> int:
    say("LEADMAGIC_API_KEY is set: reading the balance of the real account. No credits are spent.")
    connection = {"conn_type": "leadmagic", "password": api_key, "host": os.environ.get("LEADMAGIC_BASE_URL", "")}
    with _airflow(json.dumps(connection), [REPOSITORY / "demo" / "dags" / f"{READ_ONLY}.py"]) as airflow:
        run = RunWatch(airflow, READ_ONLY, _start_run(airflow, READ_ONLY), None)
        run.until_ended()
        say(_balance_or_error(airflow))
        say(f"{'DONE' if run.state == 'success' else 'FAILED'}: CheckCreditsOperator ended with state {run.state}.")
        return 0 if run.state == "success" else 1


def _balance_or_error(airflow: LocalAirflow) -> str:
    chosen = "SELECT value FROM xcom WHERE dag_id = ? AND key = 'return_value'"
    for (value,) in airflow.query(chosen, READ_ONLY):
        report = value
        while not isinstance(report, dict):  # Airflow 3 stores JSON text inside a JSON column
            report = json.loads(report)
        return f"The account has {report['credits']} credits, of which {report['spendable']} are spendable."
    texts = [text for path, text in airflow.logs() if f"dag_id={READ_ONLY}" in str(path)]
    errors = [found for text in texts for pattern in _ERROR_PATTERNS for found in re.findall(pattern, text)]
    return errors[-1] if errors else "The task log contains neither a balance nor an error of LeadMagic."


#: How an exception appears in a task log: of Airflow 3, which is JSON, and of Airflow 2, which is a traceback.
_ERROR_PATTERNS = (r'"exc_type":"LeadMagic\w+","exc_value":"([^"]+)"', r"(?m)^[\w.]+\.LeadMagic\w+: (.+)$")


def _browse() -> int:
    examples = [path for path in EXAMPLES.glob("*.py") if IS_AIRFLOW_3 or path.stem not in WATCHING]
    with Sandbox(credits=INITIAL_CREDITS) as sandbox, _airflow(sandbox.connection_json, examples) as airflow:
        sandbox.bulk_speed(rows_per_second=1)
        airflow.run(*CLAIM_POOL)
        airflow.wait_for_dag(GATED)
        if IS_AIRFLOW_3:
            say(f"Airflow is running on {airflow.url} (no login). Trigger {GATED} and watch it wait for credits.")
            say("A top-up to 500 credits or more also starts example_leadmagic_start_when_topped_up.")
        else:
            command = f"AIRFLOW_HOME={airflow.home} {Path(sys.executable).parent}/airflow dags trigger {GATED}"
            say(f"Airflow is running without its web server. To trigger a DAG: {command}")
        say(
            f"To top up: curl -X POST {sandbox.url}/_sandbox/credits -H 'Content-Type: application/json' "
            "-d '{\"add\": 100}'"
        )
        say("Press Ctrl-C to stop Airflow and the sandbox.")
        signal.pause()
        return 0


@contextmanager
def _airflow(connection_json: str, dag_files: Sequence[Path]) -> Iterator[LocalAirflow]:
    """Run Airflow in a temporary home folder, so that several demos can run at the same time and leave no files."""
    say(f"Starting Airflow {AIRFLOW_VERSION}: scheduler, triggerer{', API server' if IS_AIRFLOW_3 else ''}, SQLite ...")
    settings = {
        "AIRFLOW_CONN_LEADMAGIC_DEFAULT": connection_json,
        "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "True",
        "LEADMAGIC_EXAMPLE_POKE_INTERVAL": "5",
        "LEADMAGIC_EXAMPLE_CLAIM_SETTLE": "2",
    }
    (REPOSITORY / ".build").mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="demo-", dir=REPOSITORY / ".build", ignore_cleanup_errors=True) as name:
        home = Path(name)
        settings["LEADMAGIC_EXAMPLE_FOLDER"] = name
        with LocalAirflow(home, _copy(dag_files, home / "dags"), settings) as airflow:
            yield airflow


def _copy(files: Sequence[Path], folder: Path) -> Path:
    folder.mkdir()
    for file in files:
        shutil.copy(file, folder)
    return folder


def _start_run(airflow: LocalAirflow, dag_id: str) -> str:
    airflow.wait_for_dag(dag_id)
    say(f"Airflow is running{f' on {airflow.url}' if IS_AIRFLOW_3 else ''}. Triggering the DAG {dag_id}.")
    return airflow.trigger(dag_id)


class RunWatch:
    """
    Follow one DAG run and print each change of a task's state.

    :param airflow: The Airflow that executes the run.
    :param dag_id: ID of the DAG.
    :param run_id: ID of the run.
    :param sandbox: The account whose balance is printed with each change, if any.
    """

    def __init__(self, airflow: LocalAirflow, dag_id: str, run_id: str, sandbox: Sandbox | None) -> None:
        self._airflow, self._dag_id, self.run_id, self._sandbox = airflow, dag_id, run_id, sandbox
        self._states: dict[str, list[str]] = {}

    @property
    def state(self) -> str:
        """State of the run."""
        return self._airflow.run_state(self._dag_id, self.run_id)

    def until_task_is(self, task_id: str, state: str) -> None:
        """Wait until a task has a state."""
        self.until(lambda: self._states.get(task_id) == [state], f"{task_id} to be {state}")

    def until_ended(self) -> None:
        """Wait until the run has ended."""
        self.until(lambda: self.state in ("success", "failed"), "the end of the run")
        self._print_changes()

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition, and print the changes in the meantime."""
        wait_until(condition, RUN_LIMIT, what, self._print_changes)

    def quote(self, task_id: str, beginning: str) -> None:
        """Print a line of a task's log, found by how it begins; print nothing if the log does not contain it."""
        with suppress(LocalAirflowError):  # Airflow writes the log and the task's state independently of each other
            wait_until(lambda: bool(self._lines(task_id, beginning)), 3, "the log line")
        for line in self._lines(task_id, beginning)[:1]:
            say_more(f"Task log: {line}")

    def _lines(self, task_id: str, beginning: str) -> list[str]:
        place = f"run_id={self.run_id}/task_id={task_id}/"
        texts = [text for path, text in self._airflow.logs() if place in str(path)]
        # The quotation mark ends a message in the JSON logs of Airflow 3.
        return [found for text in texts for found in re.findall(rf'{beginning}[^"\n]*', text)]

    def _print_changes(self) -> None:
        states = self._airflow.task_states(self._dag_id, self.run_id)
        changed = {task_id: state for task_id, state in states.items() if self._states.get(task_id) != state}
        for task_id, state in changed.items():
            if not {"waiting", "scheduled", "queued"} & set(state):
                balance = f"balance: {self._sandbox.credits}" if self._sandbox else ""
                say(f"  {task_id:<17} {self._class_of(task_id):<24} {', '.join(state):<9} {balance}".rstrip())
        self._states = states

    def _class_of(self, task_id: str) -> str:
        chosen = "SELECT operator FROM task_instance WHERE dag_id = ? AND run_id = ? AND task_id = ?"
        name = str(self._airflow.query(chosen, self._dag_id, self.run_id, task_id)[0][0])
        return "@task" if name.startswith("_Python") else name


if __name__ == "__main__":
    sys.exit(main())
