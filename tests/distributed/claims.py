"""The runs that claim the credits that they spend, while everything around them fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.distributed.sensors import BEFORE

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from tests.distributed.cluster import Cluster

#: Connection and claim pool.
CLAIMS = "claims"
#: Credits that each run claims and spends, by DAG.
CLAIMED = {f"claims_{number}": 450 + 5 * number for number in range(10)}
#: Enough for two further runs. It is added before each failure.
TOP_UP = 1000


class Claims:
    """
    The runs that claim credits, and how well the balance covered them.

    :param cluster: The running cluster.
    :param account: LeadMagic account on which they claim credits.
    """

    def __init__(self, cluster: Cluster, account: Sandbox) -> None:
        self._query, self._account = cluster.query, account
        self._given = BEFORE
        #: Credits that were missing, once for each time at which the balance did not cover all claims.
        self.shortfalls: list[int] = []

    def all_wait(self) -> bool:
        """Return whether no run has its credits yet, and all wait in a triggerer."""
        return self._tasks("claim", "deferred") == set(CLAIMED)

    def top_up(self) -> None:
        """Add credits for two further runs."""
        self._given += TOP_UP
        self._account.add_credits(TOP_UP)

    def are_spent(self) -> bool:
        """Return whether a run is spending its credits, or there is none left that could."""
        return bool(self._tasks("spend", "running")) or self._tasks("spend", "success") == set(CLAIMED)

    def observe(self) -> None:
        """
        Record by how much the balance does not cover the claims, if so.

        A request takes as much from the balance as from the unspent part of its run's claim. So balance minus unspent
        claims always equals all credits that were given minus all that were claimed, and must not be negative.
        """
        missing = sum(CLAIMED[dag_id] for dag_id in self._tasks("claim", "success")) - self._given
        if missing > 0:
            self.shortfalls.append(missing)

    def _tasks(self, task_id: str, state: str) -> set[str]:
        chosen = "SELECT dag_id FROM task_instance WHERE dag_id LIKE ? AND task_id = ? AND state = ?"
        return {row[0] for row in self._query(chosen, "claims_%", task_id, state)}
