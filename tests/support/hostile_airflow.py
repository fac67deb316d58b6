"""
A model of Airflow, to test claims. A decision about a claim asks Airflow and LeadMagic several questions, one after
the other. In this model, anything can happen between two of them.

Decisions are made by :func:`~airflow_provider_leadmagic.claims.admission.admission`. The model is its Airflow and its
LeadMagic: it has runs with tasks, a pool, a Variable and a balance, and it knows how many credits each
process has really spent. Processes are killed, are suspended, and continue for a while after Airflow has given them up.

Only one pair of things happens at one moment: the last check before the ledger is written, and the write.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

from airflow_provider_leadmagic.claims.admission import ReadBalance, admission
from airflow_provider_leadmagic.claims.pool import variable_key
from airflow_provider_leadmagic.compat.metadata import (
    ReadActiveRuns,
    ReadTaskStates,
    ReadVariable,
    TaskKey,
    WriteVariable,
)
from airflow_provider_leadmagic.decisions.claims import FINISHED, NOTHING_SEEN, Seen, observe, standings, survey
from airflow_provider_leadmagic.decisions.ledger import Claim, Ledger, SpendingTask
from airflow_provider_leadmagic.exceptions import ClaimsError

POOL = "leadmagic"
VARIABLE = variable_key(POOL)
START = 1_000_000.0
#: States in which a task can start. A task is scheduled when its trigger has sent an event.
NOT_STARTED = (None, "up_for_retry", "scheduled")
#: Largest claim.
MOST_CREDITS = 5
#: Seconds after which Airflow gives up a suspended process. In Airflow this takes minutes.
HEARTBEAT_TIMEOUT = 100.0
#: Seconds for which a process can continue after Airflow has given it up.
LONGEST_AFTERLIFE = 10.0
#: Seconds by which the reported balance can be old. Together with the afterlife it is less than the default ``settle``.
LAGS = (0.0, 20.0, 45.0)
#: Seconds by which the clock advances in one step.
TIMES = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 18.0, 30.0, 45.0, 61.0, 130.0)

Admission = Callable[..., Generator[Any, Any, Any]]


class BrokenPromiseError(AssertionError):
    """More credits are promised than the account has."""


@dataclass(eq=False)
class Budget:
    """Credits that a task was granted, and what was spent of them."""

    credits: int
    spent: int = 0

    @property
    def left(self) -> int:
        return self.credits - self.spent


@dataclass(eq=False)
class Process:
    """An attempt of a task: first it decides (if it claims credits), then it spends."""

    task: Task
    began: float
    decision: Generator[Any, Any, Any] | None = None
    question: Any = None
    budget: Budget | None = None
    early_balance: Any = None
    first_text: Any = None
    has_balance: bool = False
    is_granted: bool = False
    is_dead: bool = False
    suspended_at: float | None = None
    abandoned_at: float | None = None

    @property
    def is_acting(self) -> bool:
        return not self.is_dead and self.suspended_at is None


@dataclass(eq=False)
class Task:
    """
    A task of a run.

    :param after: Names of the tasks before it.
    :param paid_by: Name of the task from whose budget it spends; its own name if it claims credits and spends them.
    :param size: Number of credits that it claims; 0 if it claims none.
    :param release_after: Names of the tasks after which its claim ends.
    """

    run: Run
    name: str
    after: tuple[str, ...] = ()
    paid_by: str | None = None
    size: int = 0
    release_after: tuple[str, ...] = ()
    state: str | None = None
    process: Process | None = None
    budget: Budget | None = None
    seen: Seen = NOTHING_SEEN
    attempt: int = 0

    @property
    def key(self) -> TaskKey:
        return TaskKey(self.run.dag_id, self.run.run_id, self.name)

    def __str__(self) -> str:
        return f"{self.run.dag_id} {self.run.run_id} {self.name}"

    @property
    def spends_itself(self) -> bool:
        return bool(self.size) and self.paid_by == self.name

    @property
    def replaces(self) -> tuple[str, ...]:
        return tuple(other.name for other in self.run.tasks.values() if other.size and other.is_before(self))

    def is_before(self, other: Task) -> bool:
        return any(name == self.name or self.is_before(self.run.tasks[name]) for name in other.after)

    @property
    def holds(self) -> bool:
        """Whether the task has been granted credits that may still be spent."""
        if not self.size or self.budget is None or self.run.state != "running":
            return False
        if self.spends_itself:
            return self.state not in FINISHED
        tasks = self.run.tasks
        replaced = any(self.name in other.replaces and other.budget is not None for other in tasks.values())
        spent = self.release_after and all(tasks[name].state in FINISHED for name in self.release_after)
        return self.state == "success" and not replaced and not spent

    @property
    def can_start(self) -> bool:
        return (
            self.run.state == "running"
            and self.state in NOT_STARTED
            and all(self.run.tasks[name].state == "success" for name in self.after)
        )


@dataclass(eq=False)
class Run:
    """A run of a DAG. Without a state it was deleted."""

    dag_id: str
    run_id: str
    kind: int
    state: str | None = "running"
    tasks: dict[str, Task] = field(default_factory=dict)

    def __post_init__(self) -> None:
        SHAPES[self.kind % 5](self, 1 + self.kind // 5 % MOST_CREDITS)

    @property
    def priority(self) -> int:
        return 1 + self.kind // 64 % 2

    def add(self, name: str, *after: str, **options: Any) -> None:
        self.tasks[name] = Task(self, name, after, **options)


def _sensor(run: Run, size: int) -> None:
    run.add("sensor", size=size)
    run.add("work", "sensor", paid_by="sensor")


def _released(run: Run, size: int) -> None:
    run.add("sensor", size=size, release_after=("work",))
    run.add("work", "sensor", paid_by="sensor")
    run.add("report", "work")


def _two_sensors(run: Run, size: int) -> None:
    run.add("sensor", size=size)
    run.add("work", "sensor", paid_by="sensor")
    run.add("second", "work", size=1 + size % 4)
    run.add("more", "second", paid_by="second")


def _operator(run: Run, size: int) -> None:
    run.add("bulk", size=size, paid_by="bulk")


def _both(run: Run, size: int) -> None:
    run.add("sensor", size=size)
    run.add("bulk", "sensor", size=size, paid_by="bulk")


SHAPES = (_sensor, _released, _two_sensors, _operator, _both)


class HostileAirflow:
    """
    Airflow, LeadMagic, and everything that happens in them.

    :param settle: ``claim_settle`` of all tasks.
    :param slots: Slots of the pool.
    :param decide: Generator function that decides about a claim. Tests replace it with a faulty one.
    :param reads_balance_first: Whether a decision gets the balance as it was when the decision began.
    :param rereads: Whether the last check before the write reads the ledger again. If False, it gets the text that the
        decision read first.
    """

    def __init__(
        self,
        setup: bytes,
        *,
        settle: float = 60.0,
        slots: int = 1,
        decide: Admission = admission,
        reads_balance_first: bool = False,
        rereads: bool = True,
    ) -> None:
        self.settle, self.slots, self.decide = settle, slots, decide
        self.reads_balance_first, self.rereads = reads_balance_first, rereads
        self.now = START
        self.text: str | None = None
        self._notes: list[tuple[float, str, tuple[Any, ...]]] = []
        self.balance = setup[0] % 7
        self.balances = [(0.0, self.balance)]
        self.violence = setup[1] % 4
        self.most_runs = (9, 9, 2, 1)[setup[1] // 4 % 4]  # the fewer they are, the more happens to each
        kinds = setup[2 : 2 + self.most_runs]
        self.runs = [Run(f"dag_{kind % 2}", f"run_{number}", kind) for number, kind in enumerate(kinds)]
        self.processes: list[Process] = []
        self.watched = NOTHING_SEEN
        self.watched_at = self.now

    # What there is to choose from

    @property
    def tasks(self) -> list[Task]:
        return [task for run in self.runs if run.state for task in run.tasks.values()]

    @property
    def acting(self) -> list[Process]:
        return [process for process in self.processes if process.is_acting]

    @property
    def promised(self) -> int:
        return sum(task.budget.left for task in self.tasks if task.holds and task.budget)

    def check(self) -> None:
        """Check that the account covers what the tasks that hold credits may still spend."""
        if self.promised > self.balance:
            held = ", ".join(f"{task} {task.budget}" for task in self.tasks if task.holds and task.budget)
            raise BrokenPromiseError(
                "\n".join([*self.log, f"{self.promised} credits promised to {held}, balance {self.balance}"])
            )

    def note(self, text: str, *values: Any) -> None:
        self._notes.append((self.now, text, values))

    @property
    def log(self) -> list[str]:
        """What happened, in lines."""
        return [f"{now - START:5.0f} s: {text.format(*values)}" for now, text, values in self._notes]

    # Money and time

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for process in self.processes:
            if process.abandoned_at is not None and self.now > process.abandoned_at + LONGEST_AFTERLIFE:
                process.is_dead |= process.suspended_at is None or process.decision is None
        self.processes = [process for process in self.processes if not process.is_dead or self._is_current(process)]

    def change_balance(self, credits: int) -> None:
        self.balance += credits
        self.balances.append((self.now, self.balance))

    def reported(self, lag: float) -> Any:
        balance = next(balance for since, balance in reversed(self.balances) if since <= self.now - lag)
        return SimpleNamespace(spendable=Decimal(balance))

    # The scheduler and the executor

    def queue(self, task: Task) -> None:
        occupied = sum(bool(other.size) and other.state in ("queued", "running") for other in self.tasks)
        if occupied < self.slots:
            task.attempt += task.state != "scheduled"
            task.state = "queued"
            self.note("{} queued", task)

    def start(self, task: Task) -> None:
        task.state = "running"
        task.process = process = Process(task, self.now)
        self.processes.append(process)
        if task.size:
            if task.budget:
                # A cleared bulk task: what it was granted included the credits of the claims that it replaced.
                for name in task.replaces:
                    task.run.tasks[name].budget = None
            task.budget = None
            self._begin_decision(process)
        elif task.paid_by:
            process.budget = task.run.tasks[task.paid_by].budget
        self.note("{} running", task)

    def _begin_decision(self, process: Process) -> None:
        task = process.task
        process.decision = self.decide(POOL, self.claim_of(task), task.seen, lambda: self.now)
        task.seen = NOTHING_SEEN
        process.question = next(process.decision)

    def claim_of(self, task: Task) -> Claim:
        return Claim(
            task.key,
            Decimal(task.size),
            since=self.now,
            attempt=task.attempt,
            priority=task.run.priority,
            patience=120.0,
            settle=self.settle,
            spent_by=tuple(map(SpendingTask, task.release_after)),
            replaces=tuple(map(SpendingTask, task.replaces)),
            is_spent_by_claimant=task.spends_itself,
        )

    def _is_current(self, process: Process) -> bool:
        return process.task.process is process and bool(process.task.run.state)

    def end(self, process: Process, state: str) -> None:
        """End a process, which reports a state; Airflow accepts it from the current attempt only."""
        process.is_dead = True
        task = process.task
        if self._is_current(process) and task.state == "running":
            task.state = state
            task.process = None
            self.note("{} {}", task, state)

    def notice(self, task: Task, state: str) -> None:
        """Airflow notices that the process of a task is dead, or has sent no heartbeat for long."""
        process = task.process
        if process is None or task.state not in ("running", "restarting"):
            return
        if process.suspended_at is not None and self.now - process.suspended_at > HEARTBEAT_TIMEOUT:
            process.abandoned_at = self.now
        elif not process.is_dead:
            return
        task.state = None if task.state == "restarting" else state
        task.process = None
        self.note("Airflow notices that {} is gone: {}", task, task.state)

    def end_runs(self) -> None:
        for run in self.runs:
            tasks = list(run.tasks.values())
            for task in tasks:
                before = (run.tasks[name].state for name in task.after)
                if task.state in NOT_STARTED and FINISHED.difference({"success"}).intersection(before):
                    task.state = "upstream_failed"
            if run.state == "running" and all(task.state in FINISHED for task in tasks):
                run.state = "success" if all(task.state == "success" for task in tasks) else "failed"
                self.note("{} {} {}", run.dag_id, run.run_id, run.state)

    # A decision, question by question

    def ask(self, process: Process, number: int) -> None:
        """Respond to the next question of a decision. The last check and the write happen at one moment."""
        assert process.decision is not None
        if self.reads_balance_first and process.early_balance is None:
            process.early_balance = self.reported(0.0)
        is_undisturbed = process.has_balance or number % 2
        while process.decision is not None:
            self._respond_to(process, number)
            if not is_undisturbed:
                break

    def _respond_to(self, process: Process, number: int) -> None:
        question, decision = process.question, process.decision
        assert decision is not None
        is_lost = number % 24 == 1
        if number % 24 == 0 or (is_lost and not isinstance(question, WriteVariable)):
            self.note("{}: no response to {}", process.task, question)
            return self._cannot_decide(process, "deferred")
        try:
            response = self._look_up(process, question, LAGS[number % len(LAGS)])
            if is_lost:
                self.note("{}: wrote {}, but got no response", process.task, Written(self.text))
                return self._cannot_decide(process, "deferred")
            process.question = decision.send(response)
        except StopIteration as end:
            self._has_decided(process, end.value)
        except ClaimsError as error:
            self.note("{}: {}", process.task, error)
            states = ("failed", "up_for_retry")
            self._cannot_decide(process, "deferred" if error.transient else states[number % 2])
        return None

    def _look_up(self, process: Process, question: Any, lag: float) -> Any:
        if isinstance(question, ReadBalance):
            process.has_balance = True
            response = process.early_balance or self.reported(lag)
            self.note("{}: balance {} ({})", process.task, response.spendable, self.balance)
            return response
        if isinstance(question, ReadVariable) and process.has_balance and not self.rereads:
            return process.first_text
        response = self.respond(question)
        if isinstance(question, ReadVariable) and not process.has_balance:
            process.first_text = response
            process.began = self.now
        self.note("{}: {} {}", process.task, type(question).__name__, Written(self.text))
        return response

    def respond(self, question: Any) -> Any:
        """Return Airflow's response to a question."""
        if isinstance(question, ReadVariable):
            return self.text
        if isinstance(question, WriteVariable):
            self.text = question.value
            return None
        runs = [run for run in self.runs if run.dag_id == question.dag_id and run.run_id in question.run_ids]
        if isinstance(question, ReadActiveRuns):
            return frozenset(run.run_id for run in runs if run.state == "running")
        assert isinstance(question, ReadTaskStates)
        tasks = [task for run in runs if run.state for task in run.tasks.values() if task.name in question.task_ids]
        return {task.key: task.state for task in tasks}

    def _cannot_decide(self, process: Process, state: str) -> None:
        process.decision = None
        self.end(process, state)

    def _has_decided(self, process: Process, decision: Any) -> None:
        process.decision = None
        if not decision.standing.is_granted:
            return self.end(process, "deferred")
        task = process.task
        process.is_granted = True
        process.budget = Budget(task.size)
        self.note("{} is granted {}", task, task.size)
        if self._is_current(process) and task.state == "running":
            task.budget = process.budget
        return None

    # Work

    def spend(self, process: Process, credits: int) -> None:
        assert process.budget is not None
        credits = min(credits, process.budget.left, self.balance)
        if credits > 0:
            process.budget.spent += credits
            self.change_balance(-credits)
            self.note("{} spends {} of {}, balance {}", process.task, credits, process.budget.credits, self.balance)

    # Failures, and what users do

    def kill(self, process: Process) -> None:
        process.is_dead = True
        self.note("{} is killed", process.task)

    def suspend(self, process: Process) -> None:
        process.suspended_at = self.now
        self.note("{} is suspended", process.task)

    def resume(self, process: Process) -> None:
        process.suspended_at = None
        if process.abandoned_at is not None:
            process.abandoned_at = self.now
        self.note("{} continues", process.task)

    def _abandon(self, task: Task) -> None:
        if task.process is not None and task.process.abandoned_at is None:
            task.process.abandoned_at = self.now
        if task.state != "restarting":
            task.process = None

    def mark(self, task: Task, state: str) -> None:
        self.note("a user marks {} {}", task, state)
        task.state = state
        self._abandon(task)

    def clear(self, task: Task) -> None:
        """Clear a task and all tasks after it."""
        self.note("a user clears {}", task)
        for other in task.run.tasks.values():
            if other is not task and not task.is_before(other):
                continue
            if other.size and (other.state in FINISHED or not other.spends_itself):
                other.budget = None  # a bulk task keeps its claim until it has started again
            other.state = "restarting" if other.state == "running" else None
            self._abandon(other)
        task.run.state = "running"

    def end_run(self, run: Run, state: str | None) -> None:
        self.note("a user ends {} {}: {}", run.dag_id, run.run_id, state)
        for task in run.tasks.values():
            if task.state not in FINISHED or state == "success":
                task.state = "failed" if task.state in ("running", "queued") else "skipped"
                self._abandon(task)
        if state is None:
            for task in run.tasks.values():
                self._abandon(task)
        run.state = state

    def trigger(self, kind: int) -> None:
        """Create a run: once more with the ID of a deleted one, if there is one."""
        deleted = [run for run in self.runs if run.state is None]
        if deleted:
            self.runs.remove(deleted[0])
            run = Run(deleted[0].dag_id, deleted[0].run_id, deleted[0].kind)
        else:
            run = Run(f"dag_{kind % 2}", f"run_{len(self.runs)}", kind)
        self.runs.append(run)
        self.note("{} {} is created", run.dag_id, run.run_id)

    def uncovered(self, action: Callable[[], None], forced: Task | None = None) -> None:
        """
        Let a user begin a claim without a decision, but not while a task decides.

        The user tops up the account to cover the claim, and waits until a task has written the change to the ledger.
        Nothing can protect credits that users give away while a task decides.
        """
        if any(process.decision and self.now - process.began <= 30 for process in self.processes):
            return
        if forced is not None and not self._can_be_forced(forced):
            return
        before = {task for task in self.tasks if task.holds}
        action()
        if forced is not None:
            forced.budget = forced.budget or Budget(forced.size)
        if {task for task in self.tasks if task.holds} - before:
            budgets = {task.budget for task in self.tasks if task.holds}
            budgets |= {process.budget for process in self.processes if not process.is_dead}
            needed = sum(budget.left for budget in budgets if budget)
            self.change_balance(max(needed - self.balance, 0))
            self.note("the user makes sure that the balance is {}", self.balance)
            self.write_changes()

    def _can_be_forced(self, task: Task) -> bool:
        # The ledger knows the claim of a task once the task has polled. The claim ends those that it replaces, so it
        # can be forced only if no task can still spend under one of these.
        in_run = [process for process in self.processes if process.task.run is task.run and not process.is_dead]
        before = [other for other in task.run.tasks.values() if other.is_before(task)]
        is_known = Ledger.from_text(self.text, VARIABLE).find(task.key) is not None
        may_spend = any(process.budget for process in in_run) or any(other.state not in FINISHED for other in before)
        return is_known and not may_spend

    def write_changes(self) -> None:
        """Let a task of the pool write what has changed since the last decision."""
        if self.text is not None:
            ledger = Ledger.from_text(self.text, VARIABLE)
            self.text = observe(ledger, self._survey(ledger), self.now).to_text()
            self.watch()

    def watch(self) -> None:
        """Let the triggerer poll."""
        ledger = Ledger.from_text(self.text, VARIABLE)
        found, aged = self._survey(ledger), self.now - self.watched_at
        seen = Seen(*({task: seconds + aged for task, seconds in each.items()} for each in self.watched))
        ledger = observe(ledger, found, self.now, seen)
        ledger = standings(ledger, found, self.reported(0.0).spendable, self.now).ledger
        self.watched, self.watched_at = Seen.in_ledger(ledger, self.now), self.now

    def _survey(self, ledger: Ledger) -> Any:
        steps = survey(ledger)
        try:
            question = next(steps)
            while True:
                question = steps.send(self.respond(question))
        except StopIteration as end:
            return end.value

    def wake(self, task: Task) -> None:
        task.state = "scheduled"
        task.seen = self.watched


class Written(NamedTuple):
    """The text of the ledger, which is read only if it is printed."""

    text: str | None

    def __str__(self) -> str:
        words = []
        for claim in Ledger.from_text(self.text, VARIABLE).claims:
            times = [None if time is None else time - START for time in (claim.granted_at, claim.ended_at)]
            words.append(f"{claim.task.run_id} {claim.task.task_id} {claim.credits} {times}")
        return "; ".join(words)


# Nothing goes wrong any more

#: A number with which all questions of a decision get a response at once, and the balance is not old.
CALM = 3
#: A number with which only one question gets a response.
ONE_QUESTION = 2


def calm_down(airflow: HostileAirflow, most_polls: int) -> None:
    """
    Check that all runs end after the last disturbance, if credits are bought regularly.

    :param airflow: The model, after a history.
    :param most_polls: Number of polls after which every task must have been granted its credits.
    """
    for process in airflow.processes:
        process.is_dead |= process.suspended_at is not None
    for _ in range(most_polls):
        airflow.advance(61.0)
        airflow.change_balance(MOST_CREDITS)
        for task in airflow.tasks:
            _poll_once(airflow, task)
        airflow.end_runs()
        left = [str(task) for task in airflow.tasks if task.run.state == "running" and task.state not in FINISHED]
        if not left:
            return
    raise AssertionError("\n".join([*airflow.log, f"These tasks wait forever: {left}"]))


def _poll_once(airflow: HostileAirflow, task: Task) -> None:
    airflow.notice(task, "up_for_retry")
    _start(airflow, task)
    process = task.process
    if process is None or task.state != "running":
        return
    while process.decision is not None:
        airflow.ask(process, CALM)
        airflow.check()
    if process.budget and task.paid_by:
        airflow.spend(process, process.budget.left)
    airflow.end(process, "success")


def _start(airflow: HostileAirflow, task: Task) -> None:
    if task.state == "deferred":
        airflow.wake(task)
    if task.can_start and task.size:
        airflow.queue(task)
    if task.state == "queued" or (task.can_start and not task.size):
        airflow.start(task)


def decide_at_once(airflow: HostileAirflow, task: Task, number: int) -> None:
    _start(airflow, task)
    process = task.process
    while process and process.decision is not None:
        airflow.ask(process, number)
    if process and process.is_granted and not task.spends_itself:
        airflow.end(process, "success")


# Steps of a history


def _tasks(condition: Callable[[Task], Any]) -> Callable[[HostileAirflow], list[Any]]:
    return lambda airflow: [task for task in airflow.tasks if condition(task)]


def _processes(condition: Callable[[Process], Any]) -> Callable[[HostileAirflow], list[Any]]:
    return lambda airflow: [process for process in airflow.processes if not process.is_dead and condition(process)]


def _runs(*states: str | None) -> Callable[[HostileAirflow], list[Any]]:
    return lambda airflow: [run for run in airflow.runs if run.state in states]


def _itself(airflow: HostileAirflow) -> list[Any]:
    return [airflow]


def _mark_success(airflow: HostileAirflow, task: Task, _: int) -> None:
    mark = partial(airflow.mark, task, "success")
    if task.size and not task.spends_itself and task.run.state == "running":
        airflow.uncovered(mark, task)
    else:
        mark()


def _mark_failed(airflow: HostileAirflow, task: Task, _: int) -> None:
    for other in task.run.tasks.values():
        if other is task or (other.paid_by == task.name and other.state in ("running", "restarting")):
            airflow.mark(other, "failed")  # what no longer has a claim must not spend


def _clear(airflow: HostileAirflow, task: Task, _: int) -> None:
    clear = partial(airflow.clear, task)
    others = (other for other in task.run.tasks.values() if other is not task and not task.is_before(other))
    if any(other.budget and not other.holds for other in others):
        airflow.uncovered(clear)  # their claims count again
    else:
        clear()


def _has_decided(process: Process) -> bool:
    return process.is_acting and process.decision is None


class Step(NamedTuple):
    """A kind of step: how often it happens, what it can happen to (for example, which tasks), and its effect."""

    weight: int
    candidates: Callable[[HostileAirflow], list[Any]]
    act: Callable[[HostileAirflow, Any, int], object]


NOTHING = Step(1, lambda airflow: [], lambda *_: None)
ASK = Step(26, _processes(lambda p: p.is_acting and p.decision), HostileAirflow.ask)
#: What Airflow does by itself. A step that is impossible becomes one of these.
PROGRESS = (
    ASK,
    Step(14, _tasks(lambda task: task.state == "queued"), lambda a, task, _: a.start(task)),
    Step(20, _tasks(lambda task: task.size and task.can_start), lambda a, task, _: a.queue(task)),
    Step(20, _tasks(lambda task: not task.size and task.can_start), lambda a, task, _: a.start(task)),
)
#: What belongs to every history.
ORDINARY = (
    NOTHING,
    *PROGRESS,
    Step(30, _tasks(lambda task: task.size and (task.can_start or task.state == "deferred")), decide_at_once),
    Step(
        18, _processes(lambda p: _has_decided(p) and p.budget and p.task.paid_by), lambda a, p, n: a.spend(p, 1 + n % 5)
    ),
    Step(16, _processes(_has_decided), lambda a, p, n: a.end(p, "success" if n % 5 else "failed")),
    Step(10, _tasks(lambda task: task.state == "deferred"), lambda a, task, _: a.wake(task)),
    Step(24, _itself, lambda a, _, n: a.advance(TIMES[n % len(TIMES)])),
    Step(8, lambda a: [a] if a.balance < 6 else [], lambda a, _, n: a.change_balance(1 + n % 4)),
    Step(6, _itself, lambda a, *_: a.end_runs()),
    Step(6, _itself, lambda a, *_: a.watch()),
    Step(6, lambda a: [a] if len(a.runs) < a.most_runs else [], lambda a, _, n: a.trigger(n)),
    Step(
        6,
        _tasks(lambda task: task.process and not task.process.is_acting),
        lambda a, task, n: a.notice(task, ("up_for_retry", "failed")[n % 2]),
    ),
)
#: What happens in violent histories more often than in others.
DISTURBANCES = (
    Step(6, _processes(lambda p: p.is_acting), lambda a, p, _: a.kill(p)),
    Step(5, _processes(lambda p: p.is_acting), lambda a, p, _: a.suspend(p)),
    Step(8, _processes(lambda p: not p.is_acting), lambda a, p, _: a.resume(p)),
    Step(6, _tasks(lambda task: task.state), _mark_failed),
    Step(6, _tasks(lambda task: task.state != "success"), _mark_success),
    Step(8, _tasks(lambda task: task.state), _clear),
    Step(3, _runs("running"), lambda a, run, n: a.end_run(run, ("failed", "success", None)[n % 3])),
    Step(3, _runs("success", "failed"), lambda a, run, _: a.end_run(run, None)),
)
STEPS = (*ORDINARY, *DISTURBANCES)
_BY_BYTE = [(step, step in DISTURBANCES) for step in STEPS for _ in range(step.weight)]
assert len(_BY_BYTE) == 256
SETUP = 6


def play(history: bytes, **options: Any) -> HostileAirflow:
    """
    Play a history and check the promise after every step.

    :param history: Six bytes that describe the balance and the first runs, then two bytes for each step.
    :param options: Arguments of :class:`HostileAirflow`.
    """
    airflow = HostileAirflow(history[:SETUP], **options)
    for kind, number in zip(history[SETUP::2], history[SETUP + 1 :: 2], strict=False):
        wanted, is_disturbance = _BY_BYTE[kind]
        is_calm = is_disturbance and number // 7 % 4 > airflow.violence
        for step in (*(() if is_calm else (wanted,)), *PROGRESS) if kind else ():
            if candidates := step.candidates(airflow):
                step.act(airflow, candidates[number % len(candidates)], number // 7)
                break
        airflow.check()
    return airflow
