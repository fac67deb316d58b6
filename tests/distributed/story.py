"""
What happens in the distributed run, once for all its tests.

Gates begin to wait; then one thing after the other fails and comes back, while they still do; then credits arrive. The
tests look at what that has left behind.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psutil

from dev.local_airflow import wait_until
from tests.distributed.cluster import TRIGGERERS, WORKERS
from tests.distributed.gates import AFTER_TOP_UP, AT_ONCE, DEFERRABLE, NEVER, POKE, RESCHEDULE, Gate
from tests.distributed.progress import say
from tests.distributed.tasks import TaskKey, Tasks
from tests.distributed.traces import Traces, collect_traces

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.distributed.accounts import Accounts
    from tests.distributed.cluster import Cluster

BULK_JOB: TaskKey = ("traces", "bulk")

#: Seconds; the outage may take longer, until gates of every mode have seen it.
OUTAGE = 60
RECOVERY_LIMIT = 240
START_LIMIT, END_LIMIT = 1200, 1200


class Story:
    """
    One run, told as it goes on.

    :param cluster: Where it happens.
    :param accounts: What the gates look at.
    :param gates: All of them.
    """

    def __init__(self, cluster: Cluster, accounts: Accounts, gates: list[Gate]) -> None:
        self.cluster, self.accounts, self.gates = cluster, accounts, gates
        self.tasks = Tasks(cluster)
        self.before_top_up: dict[TaskKey, str] = {}
        self.topped_up_at = 0.0
        #: How many gates were deferred in the triggerer that was killed.
        self.orphans = 0
        #: Everything anybody could read, by the moment and the place.
        self.traces: Traces = {}
        #: Seconds, by the name of the chapter.
        self.took: dict[str, float] = {}

    def tell(self) -> None:
        """Let it happen."""
        self._chapter("gates wait", self._start_runs)
        self._chapter("traces are collected", lambda: self._collect("while gates wait"))
        self._chapter("a worker is killed", self._kill_a_worker)
        self._chapter("a triggerer is killed", self._kill_a_triggerer)
        self._chapter("Redis restarts", self._restart_redis)
        self._chapter("PostgreSQL restarts", self._restart_postgres)
        self._chapter("LeadMagic answers 500", self._break_leadmagic)
        self._chapter("credits arrive", self._top_up)
        self._chapter("all gates end", self._await_the_end)
        self._chapter("traces are collected again", lambda: self._collect("at the end"))
        say(self._summary())

    def gates_that(self, *fates: str, mode: str | None = None) -> list[Gate]:
        """Choose gates by their fate and, if need be, by their mode."""
        return [gate for gate in self.gates if gate.fate in fates and mode in (None, gate.mode)]

    def _chapter(self, title: str, happens: Callable[[], None]) -> None:
        say(f"{title} ...")
        began = time.monotonic()
        happens()
        self.took[title] = time.monotonic() - began
        say(f"{title}: {self.took[title]:.0f} s. Tasks: {self.tasks.summary()}.")

    def _summary(self) -> str:
        """Sum up in a row of the table in CONTRIBUTING.md."""
        seconds = " | ".join(f"{seconds:.0f}" for seconds in self.took.values())
        return f"| {len(self.gates)} | {seconds} | {sum(self.took.values()) / 60:.0f} min |"

    def _collect(self, moment: str) -> None:
        self.traces |= collect_traces(self.cluster, moment)

    def _start_runs(self) -> None:
        for dag_id in ["traces", *sorted({gate.dag_id for gate in self.gates})]:
            self.cluster.trigger(dag_id)
        self._until(self._all_wait, START_LIMIT, "the bulk job and all gates to wait, or to be open")
        self._until(lambda: None not in self.tasks.deferred_by_triggerer(), 60, "a triggerer for every gate")

    def _all_wait(self) -> bool:
        are_all, gates_that = self.tasks.are_all, self.gates_that
        return (
            self.tasks.states().get(BULK_JOB) == "deferred"
            and are_all(gates_that(AT_ONCE), "success")
            and are_all(gates_that(AFTER_TOP_UP, mode=POKE), "running")
            and are_all(gates_that(AFTER_TOP_UP, mode=DEFERRABLE), "deferred")
            and are_all(gates_that(NEVER, mode=DEFERRABLE), "deferred", "failed", "skipped")
            and {gate.key for gate in gates_that(AFTER_TOP_UP, NEVER, mode=RESCHEDULE)} <= self.tasks.rescheduled()
        )

    def _kill_a_worker(self) -> None:
        name = self._worker_of_poking_gates()
        self.cluster.kill_component(name)
        self.cluster.start_component(name)
        self._until(self._every_running_task_lives, RECOVERY_LIMIT, "the gates that were killed to be tried again")

    def _worker_of_poking_gates(self) -> str:
        """Choose the worker with more of the gates that nothing but the top-up ends."""
        processes = self.tasks.processes()
        pids = {processes[gate.key] for gate in self.gates_that(AFTER_TOP_UP, mode=POKE)}
        return max(WORKERS, key=lambda name: len(pids & self.cluster.processes_of(name)))

    def _every_running_task_lives(self) -> bool:
        processes = self.tasks.processes()
        poking = {gate.key for gate in self.gates_that(AFTER_TOP_UP, mode=POKE)}
        return poking <= processes.keys() and all(map(psutil.pid_exists, processes.values()))

    def _kill_a_triggerer(self) -> None:
        # Who is first takes all that is there: the other one may have had nothing to do so far.
        victim = max(TRIGGERERS, key=lambda name: len(self.accounts.looks(name)))
        before = self.tasks.deferred_by_triggerer()
        self.cluster.kill_component(victim)
        self._until(self._one_triggerer_has_all, RECOVERY_LIMIT, "the other triggerer to take over")
        [(survivor, _)] = self.tasks.deferred_by_triggerer().most_common(1)
        self.orphans = before.total() - before[survivor]
        self._await_looks(*TRIGGERERS)
        self.cluster.start_component(victim)
        self._until(lambda: len(self.tasks.living_triggerers()) == 2, RECOVERY_LIMIT, "the new triggerer")

    def _one_triggerer_has_all(self) -> bool:
        living = self.tasks.living_triggerers()
        return len(living) == 1 and list(self.tasks.deferred_by_triggerer()) == living

    def _restart_redis(self) -> None:
        self.cluster.redis.restart()
        self._await_new_rounds()

    def _restart_postgres(self) -> None:
        self.cluster.postgres.restart()
        self._await_new_rounds()
        self._await_looks(*TRIGGERERS)  # of either: who is silent for a while loses its gates to the other one

    def _break_leadmagic(self) -> None:
        end = time.time() + OUTAGE
        self.accounts.break_down()
        seen_by_all = "the outage to have lasted, and gates of every mode to have seen it"
        self._until(lambda: time.time() >= end and self._every_mode_sees_it(), OUTAGE + RECOVERY_LIMIT, seen_by_all)
        self.accounts.recover()
        self._await_looks(POKE)
        self._await_looks(*TRIGGERERS)

    def _every_mode_sees_it(self) -> bool:
        failed = {name for name in (POKE, RESCHEDULE, *TRIGGERERS) if self.accounts.looks(name, status=500)}
        return failed.issuperset((POKE, RESCHEDULE)) and not failed.isdisjoint(TRIGGERERS)

    def _top_up(self) -> None:
        self.before_top_up = self.tasks.states()
        self.topped_up_at = time.time()
        self.accounts.top_up()
        opened = self.gates_that(AFTER_TOP_UP)
        self._until(lambda: self.tasks.are_all(opened, "success"), END_LIMIT, "all gates to open")

    def _await_the_end(self) -> None:
        self._until(lambda: not self.tasks.unfinished(), END_LIMIT, "every task to end")
        still_going = "SELECT 1 FROM dag_run WHERE state NOT IN ('success', 'failed')"
        self._until(lambda: not self.cluster.query(still_going), 60, "every run to end")

    def _await_new_rounds(self) -> None:
        """Wait until gates have gone all the way from the scheduler through Redis to a worker and back."""
        since = datetime.now(UTC)
        self._until(lambda: self.tasks.rescheduled_since(since) >= 2, RECOVERY_LIMIT, "gates that look once more")

    def _await_looks(self, *names: str) -> None:
        """Wait until somebody has looked once more, with success, at one of these addresses."""
        since, looks = time.time(), self.accounts.looks
        what = f"a look at the account of {' or '.join(names)}"
        self._until(lambda: any(looks(name, since, 200) for name in names), RECOVERY_LIMIT, what)

    def _until(self, condition: Callable[[], bool], limit: float, what: str) -> None:
        wait_until(condition, limit, what, self.cluster.supervise)
