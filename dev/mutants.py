"""
Break the modules that decide about money in one place at a time, and list the breaks that no test notices.

``make mutants`` runs it. Each break ("mutant") is made in its own copy of the repository, so the working tree is
never changed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.util import cache_from_source
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from dev.mutations import find_mutants

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.mutations import Mutant

REPOSITORY = Path(__file__).parents[1]
PACKAGE = "airflow_provider_leadmagic"
#: Percentage of surviving mutants that fails the run.
TOO_MANY = 3.0
#: Seconds for one test. All tests of a mutant may take this long plus four times their duration on unchanged code.
PATIENCE = 60

_ATTEMPTS = "operators/test_bulk_attempts.py"
_SUBMISSION = "operators/test_bulk_submission.py"
_CLAIMS_SENSOR = "sensors/test_claims.py"
_CLAIMS_TRIGGER = "triggers/test_claimed_credits_trigger.py"
#: Tests of each module, in tests/unit/. Those that find most mutants come first, because the first failure ends a run.
TESTS: dict[str, tuple[str, ...]] = {
    "decisions/gate.py": ("decisions", "sensors/test_waiting.py", "triggers"),
    "decisions/crossing.py": ("decisions", "triggers"),
    "decisions/claims.py": ("decisions/test_claims.py", "claims/test_admission.py", _CLAIMS_TRIGGER, _CLAIMS_SENSOR),
    "decisions/ledger.py": ("decisions/test_ledger.py", "decisions", "claims/test_admission.py", "claims/test_pool.py"),
    "claims/admission.py": ("claims/test_admission.py", _CLAIMS_SENSOR),
    "triggers/credits.py": ("triggers", "sensors/test_waiting.py"),
    "triggers/claims.py": (_CLAIMS_TRIGGER, _CLAIMS_SENSOR),
    "triggers/shared_poll.py": ("triggers", "sensors/test_waiting.py"),
    "triggers/bulk.py": ("triggers/test_bulk_triggers.py", "operators/test_bulk_waiting.py", "operators"),
    "bulk/submission.py": (_SUBMISSION, _ATTEMPTS, "operators", "bulk"),
    "bulk/previous_attempts.py": (_ATTEMPTS, "operators", "bulk"),
    "bulk/cancel.py": ("operators/test_bulk_on_kill.py", "triggers/test_bulk_triggers.py", "operators"),
    "bulk/storage.py": ("bulk/test_output.py", "bulk/test_rows.py", "bulk", "operators"),
    "bulk/drafts.py": ("bulk/test_output.py", "bulk", "operators"),
    "bulk/output.py": ("bulk/test_output.py", "bulk", "operators"),
    "operators/_bulk_run.py": (_ATTEMPTS, _SUBMISSION, "operators"),
    "operators/_bulk_reports.py": ("operators/test_bulk_spending.py", "operators"),
    "operators/_bulk_waiting.py": ("operators/test_bulk_waiting.py", "operators"),
}

_QUIET: dict[str, int] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
_running: set[subprocess.Popen[bytes]] = set()


def try_mutant(base: Path, name: str, mutant: Mutant, tests: tuple[str, ...], limit: float) -> str:
    """Run tests in a copy of a tree in which one file is changed, and return the outcome of :func:`run_tests`."""
    with TemporaryDirectory(prefix="leadmagic-mutant-") as folder:
        tree = Path(shutil.copytree(base, Path(folder, "tree"), symlinks=True))
        path = tree / name
        path.write_bytes(mutant.apply(path.read_bytes()))
        # Python would run the copied bytecode if the source has the same length and was modified in the same second.
        Path(cache_from_source(path)).unlink(missing_ok=True)
        return run_tests(tree, tests, limit)


def run_tests(tree: Path, tests: tuple[str, ...], limit: float | None = None) -> str:
    """
    Run tests against the package in a tree, which takes precedence over the installed one.

    :param tests: Files and folders, relative to the tree.
    :param limit: Seconds until the tests are killed.
    :return: ``survived`` if all tests pass, ``killed`` if one fails, or ``timed out``.
    """
    options = ["-q", "-x", "-W", "ignore", "-p", "no:cacheprovider", "-m", "not e2e", f"--timeout={PATIENCE}"]
    with TemporaryDirectory(dir=tree) as scratch:
        variables = {**os.environ, "PYTHONPATH": str(tree), "TMPDIR": scratch}
        command = [sys.executable, "-m", "pytest", *options, *tests]
        process = subprocess.Popen(command, cwd=tree, env=variables, **_QUIET, start_new_session=True)
        _running.add(process)
        try:
            return "survived" if process.wait(limit) == 0 else "killed"
        except subprocess.TimeoutExpired:
            return "timed out"
        finally:
            _running.discard(process)
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its children, which are in its session."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def report(base: Path, name: str, tests: tuple[str, ...], at_once: int, every: int = 1) -> tuple[int, int]:
    """
    Test the mutants of a file, and print the outcome of each.

    :param base: Tree to copy. Its own tests run first, and must pass.
    :param name: The file, relative to the tree.
    :param tests: Files and folders with the tests that should detect the mutants.
    :param at_once: Number of mutants to test in parallel.
    :param every: Test only every n-th mutant; 1 for all.
    :return: The number of mutants, and of those that survived.
    """
    started = time.monotonic()
    if run_tests(base, tests) != "survived":
        sys.exit(f"{name}: the tests fail without a change; run: pytest {' '.join(tests)}")
    limit = PATIENCE + 4 * (time.monotonic() - started)
    source = (base / name).read_bytes()
    mutants, outcomes, started = find_mutants(source)[::every], [], time.monotonic()
    with _threads(at_once) as threads:
        found = threads.map(lambda mutant: try_mutant(base, name, mutant, tests, limit), mutants)
        for mutant, outcome in zip(mutants, found, strict=True):
            outcomes.append(outcome)
            print(f"{name}:{mutant.line(source)}: {outcome}", flush=True)
            if outcome == "survived":
                print(mutant.diff(source, name), flush=True)
    each = (time.monotonic() - started) / max(len(mutants), 1)
    survived, late = outcomes.count("survived"), outcomes.count("timed out")
    print(f"{name}: {len(mutants)} mutants, {survived} survived, {late} timed out, {each:.1f} s each", flush=True)
    return len(mutants), survived


@contextmanager
def _threads(number: int) -> Iterator[ThreadPoolExecutor]:
    """Yield an executor. If the run is interrupted, kill the tests, so that the threads that wait for them end."""
    threads = ThreadPoolExecutor(number)
    try:
        yield threads
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for process in list(_running):
            _kill(process)


def main(at_once: str = "2", every: str = "1", *only: str) -> int:
    """Try the mutants of all modules or of some, such as ``bulk/cancel.py``; return 1 if too many survive."""
    if unknown := set(only) - TESTS.keys():
        sys.exit(f"{', '.join(sorted(unknown))}: not a module with mutants; choose from {', '.join(TESTS)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with TemporaryDirectory(prefix="leadmagic-mutants-") as folder:
        base = Path(shutil.copytree(REPOSITORY, Path(folder, "base"), ignore=shutil.ignore_patterns(".*")))
        counts = []
        for name in only or TESTS:
            tests = tuple(f"tests/unit/{test}" for test in TESTS[name])
            counts.append(report(base, f"{PACKAGE}/{name}", tests, int(at_once), int(every)))
    total, survived = map(sum, zip(*counts, strict=True))
    print(f"{survived} of {total} mutants survived ({survived / total:.1%}).")
    return int(100 * survived >= TOO_MANY * total)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
