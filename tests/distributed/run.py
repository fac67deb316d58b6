"""
The distributed run, which happens once for all its tests.

Sensors start to wait. While they wait, one component after the other fails and recovers, and runs that claim credits
spend them. Then credits arrive for all. The tests examine the result.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psutil

from dev.local_airflow import wait_until
from tests.distributed.claims import CLAIMED, CLAIMS, Claims
from tests.distributed.cluster import SCHEDULERS, TRIGGERERS, WORKERS
from tests.distributed.progress import log_progress
from tests.distributed.sensors import AFTER_TOP_UP, AT_ONCE, DEFERRABLE, NEVER, POKE, RESCHEDULE, Sensor
from tests.distributed.tasks import TaskKey, Tasks
from tests.distributed.traces import Traces, collect_traces

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.distributed.accounts import Accounts
    from tests.distributed.cluster import Cluster

BULK_JOB: TaskKey = ("traces", "bulk")

#: Minimum length of the outage in seconds; it lasts until sensors of every mode have encountered it.
OUTAGE = 60
RECOVERY_LIMIT = 240
START_LIMIT, END_LIMIT = 1200, 1200


class DistributedRun:
    """
    A run of all sensors in a cluster, and what was observed during it.

    :param cluster: The running cluster.
    :param accounts: LeadMagic accounts that the sensors poll.
    :param sensors: All sensors of the run.
    """

    def __init__(self, cluster: Cluster, accounts: Accounts, sensors: list[Sensor]) -> None:
        self.cluster, self.accounts, self.sensors = cluster, accounts, sensors
        self.tasks = Tasks(cluster)
        self.claims = Claims(cluster, accounts[CLAIMS])
        self.states_before_top_up: dict[TaskKey, str] = {}
        self.topped_up_at = 0.0
        #: Number of sensors that were deferred in the killed triggerer.
        self.orphans = 0
        #: Copies of everything that Airflow shows or stores, by moment and place.
        self.traces: Traces = {}
        #: Seconds by phase.
        self.durations: dict[str, float] = {}

    def execute(self) -> None:
        """Run all phases."""
        self._phase("sensors wait", self._start_runs)
        self._phase("traces are collected", lambda: self._collect("while sensors wait"))
        self._phase("a worker is killed", self._kill_a_worker, are_credits_spent=True)
        self._phase("a triggerer is killed", self._kill_a_triggerer, are_credits_spent=True)
        self._phase("a scheduler is killed", self._kill_a_scheduler, are_credits_spent=True)
        self._phase("Redis restarts", self._restart_redis, are_credits_spent=True)
        self._phase("PostgreSQL restarts", self._restart_postgres, are_credits_spent=True)
        self._phase("LeadMagic responds with 500", self._break_leadmagic)
        self._phase("credits arrive", self._top_up)
        self._phase("all sensors end", self._wait_for_the_end)
        self._phase("traces are collected again", lambda: self._collect("at the end"))
        log_progress(self._summary())

    def sensors_with(self, *outcomes: str, mode: str | None = None) -> list[Sensor]:
        """Return the sensors with one of some outcomes, optionally only those of one mode."""
        return [sensor for sensor in self.sensors if sensor.outcome in outcomes and mode in (None, sensor.mode)]

    def _phase(self, title: str, action: Callable[[], None], *, are_credits_spent: bool = False) -> None:
        log_progress(f"{title} ...")
        started = time.monotonic()
        if are_credits_spent:
            self.claims.top_up()
            self._until(self.claims.are_spent, RECOVERY_LIMIT, "a run that spends the credits that it has claimed")
        action()
        self.durations[title] = time.monotonic() - started
        log_progress(f"{title}: {self.durations[title]:.0f} s. Tasks: {self.tasks.summary()}.")

    def _summary(self) -> str:
        """Return a row of the table in CONTRIBUTING.md."""
        seconds = " | ".join(f"{seconds:.0f}" for seconds in self.durations.values())
        return f"| {len(self.sensors)} | {seconds} | {sum(self.durations.values()) / 60:.0f} min |"

    def _collect(self, moment: str) -> None:
        self.traces |= collect_traces(self.cluster, moment)

    def _start_runs(self) -> None:
        for dag_id in ["traces", *CLAIMED, *sorted({sensor.dag_id for sensor in self.sensors})]:
            self.cluster.trigger(dag_id)
        self._until(self._all_wait, START_LIMIT, "the bulk job and all sensors to wait or succeed")
        self._until(lambda: None not in self.tasks.deferred_by_triggerer(), 60, "a triggerer for every sensor")

    def _all_wait(self) -> bool:
        are_all, sensors_with = self.tasks.are_all, self.sensors_with
        rescheduled = {sensor.key for sensor in sensors_with(AFTER_TOP_UP, NEVER, mode=RESCHEDULE)}
        return (
            self.tasks.states().get(BULK_JOB) == "deferred"
            and are_all(sensors_with(AT_ONCE), "success")
            and are_all(sensors_with(AFTER_TOP_UP, mode=POKE), "running")
            and are_all(sensors_with(AFTER_TOP_UP, mode=DEFERRABLE), "deferred")
            and are_all(sensors_with(NEVER, mode=DEFERRABLE), "deferred", "failed", "skipped")
            and rescheduled <= self.tasks.rescheduled()
            and self.claims.all_wait()
        )

    def _kill_a_worker(self) -> None:
        name = self._worker_of_poking_sensors()
        self.cluster.kill_component(name)
        self.cluster.start_component(name)
        self._until(self._every_running_task_is_alive, RECOVERY_LIMIT, "another attempt of the killed sensors")

    def _worker_of_poking_sensors(self) -> str:
        """Choose the worker with more of the sensors that only the top-up ends."""
        processes = self.tasks.processes()
        pids = {processes[sensor.key] for sensor in self.sensors_with(AFTER_TOP_UP, mode=POKE)}
        return max(WORKERS, key=lambda name: len(pids & self.cluster.processes_of(name)))

    def _every_running_task_is_alive(self) -> bool:
        processes = self.tasks.processes()
        poking = {sensor.key for sensor in self.sensors_with(AFTER_TOP_UP, mode=POKE)}
        return poking <= processes.keys() and all(map(psutil.pid_exists, processes.values()))

    def _kill_a_triggerer(self) -> None:
        # The first triggerer takes all available triggers; the other one may not have had any yet.
        victim = max(TRIGGERERS, key=lambda name: len(self.accounts.polls(name)))
        before = self.tasks.deferred_by_triggerer()
        self.cluster.kill_component(victim)
        self._until(self._one_triggerer_has_all, RECOVERY_LIMIT, "the other triggerer to take over")
        [(survivor, _)] = self.tasks.deferred_by_triggerer().most_common(1)
        self.orphans = before.total() - before[survivor]
        self._wait_for_a_poll(*TRIGGERERS)
        self.cluster.start_component(victim)
        self._until(lambda: len(self.tasks.living_triggerers()) == 2, RECOVERY_LIMIT, "the new triggerer")

    def _one_triggerer_has_all(self) -> bool:
        living = self.tasks.living_triggerers()
        return len(living) == 1 and list(self.tasks.deferred_by_triggerer()) == living

    def _kill_a_scheduler(self) -> None:
        self.cluster.kill_component(SCHEDULERS[0])
        self._wait_for_rescheduled_sensors()
        self.cluster.start_component(SCHEDULERS[0])

    def _restart_redis(self) -> None:
        self.cluster.redis.restart()
        self._wait_for_rescheduled_sensors()

    def _restart_postgres(self) -> None:
        self.cluster.postgres.restart()
        self._wait_for_rescheduled_sensors()
        self._wait_for_a_poll(*TRIGGERERS)  # of either: one without a heartbeat for a while loses its triggers

    def _break_leadmagic(self) -> None:
        end = time.time() + OUTAGE
        self.accounts.start_outage()
        complete = "the outage to last, and sensors of every mode to encounter it"
        self._until(lambda: time.time() >= end and self._every_mode_was_hit(), OUTAGE + RECOVERY_LIMIT, complete)
        self.accounts.end_outage()
        self._wait_for_a_poll(POKE)
        self._wait_for_a_poll(*TRIGGERERS)

    def _every_mode_was_hit(self) -> bool:
        failed = {name for name in (POKE, RESCHEDULE, *TRIGGERERS) if self.accounts.polls(name, status=500)}
        return failed.issuperset((POKE, RESCHEDULE)) and not failed.isdisjoint(TRIGGERERS)

    def _top_up(self) -> None:
        self.states_before_top_up = self.tasks.states()
        self.topped_up_at = time.time()
        self.accounts.top_up()
        waiting = self.sensors_with(AFTER_TOP_UP)
        self._until(lambda: self.tasks.are_all(waiting, "success"), END_LIMIT, "all sensors to succeed")

    def _wait_for_the_end(self) -> None:
        self._until(lambda: not self.tasks.unfinished(), END_LIMIT, "every task to end")
        running = "SELECT 1 FROM dag_run WHERE state NOT IN ('success', 'failed')"
        self._until(lambda: not self.cluster.query(running), 60, "every DAG run to end")

    def _wait_for_rescheduled_sensors(self) -> None:
        """Wait until sensors have passed from the scheduler through Redis to a worker and back."""
        since = datetime.now(UTC)
        self._until(lambda: self.tasks.rescheduled_since(since) >= 2, RECOVERY_LIMIT, "sensors that poll again")

    def _wait_for_a_poll(self, *names: str) -> None:
        """Wait for a successful poll of any of these accounts."""
        since, polls = time.time(), self.accounts.polls
        what = f"a poll of the account of {' or '.join(names)}"
        self._until(lambda: any(polls(name, since, 200) for name in names), RECOVERY_LIMIT, what)

    def _until(self, condition: Callable[[], bool], limit: float, what: str) -> None:
        wait_until(condition, limit, what, self._supervise)

    def _supervise(self) -> None:
        self.cluster.supervise()
        self.claims.observe()
