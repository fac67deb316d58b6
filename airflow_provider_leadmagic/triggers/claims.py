"""A trigger that resumes a deferred task when it can probably be granted the credits that it claims."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from airflow.triggers.base import TriggerEvent

from airflow_provider_leadmagic.api.validation import parse_credits
from airflow_provider_leadmagic.claims.pool import variable_key
from airflow_provider_leadmagic.compat.metadata import Question, ReadVariable, TaskKey, aask
from airflow_provider_leadmagic.decisions.claims import Seen, Standings, observe, standings, survey
from airflow_provider_leadmagic.decisions.events import error_event, wake_event
from airflow_provider_leadmagic.decisions.gate import is_sufficient, tolerate_failed_poll
from airflow_provider_leadmagic.decisions.ledger import Ledger
from airflow_provider_leadmagic.exceptions import LeadMagicError
from airflow_provider_leadmagic.hooks.metrics import report_claims
from airflow_provider_leadmagic.triggers.credits import BalanceTrigger

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Hashable

    from airflow_provider_leadmagic.api.models import CreditBalance
    from airflow_provider_leadmagic.triggers.shared_poll import Reading

log = logging.getLogger(__name__)

T = TypeVar("T")

#: If the standings (whether each waiting task can be granted its credits) lack a task, and are older than this many
#: seconds, they are computed again: the task may have written its claim in the meantime.
_MAX_AGE_WITHOUT_TASK = 5.0


class ClaimedCreditsTrigger(BalanceTrigger):
    """
    Fires once, when the task can probably be granted its credits or a poll fails with a permanent error.

    It only reads the claims. The task then continues on a worker, where it occupies the slot of the claim pool, an
    Airflow pool. There it is granted the credits, or defers again.

    :param leadmagic_conn_id: Connection to poll.
    :param minimum_credits: Required credits, as a numeric string.
    :param poke_interval: Seconds between two polls.
    :param claim_pool: Name of the claim pool.
    :param claimed_by: DAG ID, run ID, task ID and map index of the task.
    :param refresh: Whether LeadMagic re-reads the balance from its database before each poll.
    :param not_before: Unix time before which not to poll, from ``Retry-After``; 0 for none.
    :param waiting_since: Unix time at which the first interval begins; the first poll comes one interval later. It is
        usually the time of the worker's last poll. If a standing will change before the next poll, for example because
        a claim stops counting at a known time, ``waiting_since`` is one interval before the change, so that the first
        poll comes at the change.
    :param deferred_at: Unix time of the deferral; ``waiting_since`` by default.
    """

    # Airflow keeps event triggers off named triggerer queues because they have no task. This one has a task.
    supports_triggerer_queue = True

    def __init__(
        self,
        leadmagic_conn_id: str,
        minimum_credits: str,
        poke_interval: float,
        claim_pool: str,
        claimed_by: list[Any],
        refresh: bool = False,
        not_before: float = 0.0,
        waiting_since: float = 0.0,
        deferred_at: float | None = None,
    ) -> None:
        super().__init__(leadmagic_conn_id, poke_interval, refresh, not_before)
        self.minimum_credits = minimum_credits
        self.claim_pool = claim_pool
        self.claimed_by = claimed_by
        self.waiting_since = waiting_since
        self.deferred_at = waiting_since if deferred_at is None else deferred_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments for Airflow's database; none of them is secret."""
        return self._path(), {
            "leadmagic_conn_id": self.leadmagic_conn_id,
            "minimum_credits": self.minimum_credits,
            "poke_interval": self.poke_interval,
            "claim_pool": self.claim_pool,
            "claimed_by": self.claimed_by,
            "refresh": self.refresh,
            "not_before": self.not_before,
            "waiting_since": self.waiting_since,
            "deferred_at": self.deferred_at,
        }

    def shared_stream_key(self) -> Hashable:
        """Return the key of the poll; triggers with equal keys share one."""
        settings = (self.leadmagic_conn_id, self.poke_interval, self.refresh, self.not_before, self.claim_pool)
        return ("leadmagic-claims", *settings)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncGenerator[Reading, None]:
        """
        Poll the balance and yield the readings.

        A reading that is still recent is yielded again when a standing may have changed although the balance has not.

        :param kwargs: Serialized arguments of one of the triggers that share the poll.
        """
        from airflow_provider_leadmagic.triggers.shared_poll import first_wait, latest_reading, next_wait

        conn_id, interval = kwargs["leadmagic_conn_id"], kwargs["poke_interval"]
        await asyncio.sleep(first_wait(interval, kwargs["waiting_since"], kwargs["not_before"]))
        while True:
            reading = await latest_reading(conn_id, interval, refresh=kwargs["refresh"])
            yield reading
            result = await latest_standings(kwargs["claim_pool"], conn_id, reading)
            await asyncio.sleep(next_wait(interval, min(reading.due_in(interval), result.changes_in)))

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Reading]) -> AsyncGenerator[TriggerEvent, None]:
        """
        Evaluate the readings, and yield the only event of this trigger.

        :param shared_stream: The readings that :meth:`open_shared_stream` yields.
        """
        from airflow_provider_leadmagic.triggers.shared_poll import one_at_a_time

        async for reading in shared_stream:
            result = await latest_standings(self.claim_pool, self.leadmagic_conn_id, reading, TaskKey(*self.claimed_by))
            async with one_at_a_time():
                event = self._judge(reading, result)
            if event is not None:
                await self._let_process_end(self.deferred_at)
                yield TriggerEvent(event)  # type: ignore[no-untyped-call]
                return

    def _judge(self, reading: Reading, result: ClaimsReading) -> dict[str, Any] | None:
        next_poll_in = min(reading.due_in(self.poke_interval), result.changes_in)
        error = reading.error or result.error
        if error and not error.transient:
            return error_event(error)
        if error:
            tolerate_failed_poll(self.log, error, max(reading.failures, result.failures), next_poll_in)
        elif reading.balance and self._is_possible(reading.balance, result, next_poll_in):
            return wake_event(result.seen())
        return None

    def _is_possible(self, balance: CreditBalance, result: ClaimsReading, next_poll_in: float) -> bool:
        minimum, task = parse_credits("minimum_credits", self.minimum_credits), TaskKey(*self.claimed_by)
        standing = result.standings and result.standings.by_task.get(task)
        if not standing:
            # The ledger of the claims, an Airflow Variable, does not list the task as waiting: the task's first poll
            # failed, the Variable was deleted, or the task was granted its credits and waits again, because others had
            # spent them. Only a worker can add its claim to the ledger, so the task is resumed as soon as the balance
            # alone covers it.
            return balance.covers(minimum)
        if standing.is_granted:
            self.log.info("Credits can be claimed: the task continues when pool %r has a free slot.", self.claim_pool)
            return True
        return is_sufficient(self.log, balance, minimum, self.leadmagic_conn_id, next_poll_in, standing)


@dataclass(frozen=True)
class ClaimsReading:
    """
    The claims on an account at the time of a balance reading.

    :param taken_at: Time by the monotonic clock of the process.
    :param standings: The standings of the waiting tasks; None if the balance, the ledger or the states of its tasks and
        runs are unknown.
    :param error: The error, if the ledger or these states could not be read.
    :param failures: Number of consecutive errors, including this one.
    """

    taken_at: float
    standings: Standings | None = None
    error: LeadMagicError | None = None
    failures: int = 0

    def lacks(self, task: TaskKey) -> bool:
        """Return whether the standings lack a task and are so old that it may have written its claim since."""
        has_task = self.standings is None or task in self.standings.by_task
        return not has_task and time.monotonic() - self.taken_at > _MAX_AGE_WITHOUT_TASK

    @property
    def changes_in(self) -> float:
        """Seconds until a standing changes even if balance and states do not; 0 if overdue, ``math.inf`` if never."""
        if self.standings is None:
            return math.inf
        return max(self.taken_at + self.standings.changes_in - time.monotonic(), 0.0)

    def seen(self) -> Seen:
        """
        Return what the triggerer has observed: which claims have ended, and for which waiting tasks there are enough
        credits. Each observation has its age in seconds.
        """
        return Seen({}, {}) if self.standings is None else Seen.in_ledger(self.standings.ledger, time.time())


class SharedStandings:
    """
    The standings of one claim pool, computed for each reading of the balance, and again when time has changed them.

    :param pool: Name of the claim pool.
    """

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._lock = asyncio.Lock()
        self._reading: Reading | None = None
        self._latest = ClaimsReading(time.monotonic())
        # The ledger with what was observed since a worker last wrote it. An error does not reset it.
        self._seen = Ledger()
        self._text: str | None = None

    async def get(self, reading: Reading, task: TaskKey | None = None) -> ClaimsReading:
        """
        Return the standings for a reading.

        :param reading: A reading of the balance.
        :param task: The task that requests them: standings without it are used only if they are recent.
        """
        async with self._lock:
            is_outdated = self._latest.changes_in <= 0 or (task is not None and self._latest.lacks(task))
            if self._reading is not reading or is_outdated:
                self._latest = await self._survey(reading.balance)
                self._reading = reading
            return self._latest

    async def _survey(self, balance: CreditBalance | None) -> ClaimsReading:
        if balance is None:
            return ClaimsReading(time.monotonic())
        try:
            key = variable_key(self._pool)
            text = await aask(ReadVariable(key))
            ledger = Ledger.from_text(text, key)
            found = await _run(survey(ledger))
        except LeadMagicError as error:
            return ClaimsReading(time.monotonic(), error=error, failures=self._latest.failures + 1)
        if text != self._text:  # a worker has changed the ledger, and saved what still holds in it
            self._text, self._seen = text, Ledger()
        now = time.time()
        ledger = observe(ledger, found, now, Seen.in_ledger(self._seen, now))
        result = standings(ledger, found, balance.spendable, now)
        self._seen = result.ledger
        report_claims(self._pool, result.claimed, balance.spendable, len(result.by_task))
        return ClaimsReading(time.monotonic(), result)


#: Standings by event loop, claim pool and connection: with two connections, a pool has two balances.
_shared_standings: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], SharedStandings]] = (
    WeakKeyDictionary()
)


async def latest_standings(pool: str, conn_id: str, reading: Reading, task: TaskKey | None = None) -> ClaimsReading:
    """
    Return the standings for a reading. All triggers of this process share them.

    :param pool: Name of the claim pool.
    :param conn_id: Connection whose balance was read.
    :param reading: A reading of the balance.
    :param task: The task that requests them: standings without it are used only if they are recent.
    """
    by_account = _shared_standings.setdefault(asyncio.get_running_loop(), {})
    return await by_account.setdefault((pool, conn_id), SharedStandings(pool)).get(reading, task)


async def _run(questions: Generator[Question[Any], Any, T]) -> T:
    try:
        question = next(questions)
        while True:
            question = questions.send(await aask(question))
    except StopIteration as end:
        result: T = end.value
        return result
