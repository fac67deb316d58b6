"""
The LeadMagic accounts of the cluster.

Each mode has its own connection, which identifies its requests. Requests of deferrable sensors come from a
worker (one poll each, before they defer) and from the triggerers (one poll for all); their connection therefore has a
different address in each component. To the sensors this is one account, because all addresses have the same balance.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from tests.distributed.canaries import CANARY, LOGGED_CANARY, STORED_CANARY, WRONG_CANARY
from tests.distributed.claims import CLAIMS
from tests.distributed.cluster import TRIGGERERS
from tests.distributed.sensors import AFTER, BEFORE, DEFERRABLE, POKE, RESCHEDULE

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.request_log import LoggedRequest

KEYS = dict.fromkeys((POKE, RESCHEDULE, DEFERRABLE, *TRIGGERERS, "echo", "bulk", "watched", CLAIMS), CANARY) | {
    "stored": STORED_CANARY,
    "logged": LOGGED_CANARY,
}
#: Accounts that the sensors poll; they are topped up, and fail, together.
OF_THE_SENSORS = (POKE, RESCHEDULE, DEFERRABLE, *TRIGGERERS)
ECHO = f'{{"errors": [{{"title": "Key {CANARY} is no good", "detail": "{CANARY}", "action": "Not {CANARY}."}}]}}'


class Accounts:
    """All sandboxes: by connection ID, or, if a triggerer has a sandbox of its own, by the name of the triggerer."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.sandboxes = {name: Sandbox(credits=BEFORE, api_key=key) for name, key in KEYS.items()}

    def __enter__(self) -> Self:
        """Start all sandboxes."""
        with ExitStack() as stack:
            for sandbox in self.sandboxes.values():
                stack.enter_context(sandbox)
            self._stack = stack.pop_all()
        self["echo"].fail_next("*", status=403, body=ECHO, times=None)
        self["bulk"].set_credits(AFTER)
        self["bulk"].bulk_speed(rows_per_second=0.05)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all sandboxes."""
        self._stack.close()

    def __getitem__(self, name: str) -> Sandbox:
        return self.sandboxes[name]

    def connections(self) -> dict[str, str]:
        """Return the environment variables of all components."""
        defined_elsewhere = {"stored", *TRIGGERERS}
        own = {name: box.connection_json for name, box in self.sandboxes.items() if name not in defined_elsewhere}
        own["wrong_key"] = self[POKE].connection_json.replace(CANARY, WRONG_CANARY)
        return {f"AIRFLOW_CONN_{name.upper()}": connection for name, connection in own.items()}

    def connections_by_component(self) -> dict[str, dict[str, str]]:
        """Return the environment variables that differ in single components."""
        variable = f"AIRFLOW_CONN_{DEFERRABLE.upper()}"
        return {name: {variable: self[name].connection_json} for name in TRIGGERERS}

    def top_up(self) -> None:
        """Set the balance to ``AFTER``."""
        for name in (*OF_THE_SENSORS, "watched", "stored"):
            self[name].set_credits(AFTER)

    def start_outage(self) -> None:
        """Respond to every request with 500."""
        for name in OF_THE_SENSORS:
            self[name].fail_next("*", status=500, times=None)

    def end_outage(self) -> None:
        """Respond normally again."""
        for name in OF_THE_SENSORS:
            self[name].clear_faults()

    def polls(self, name: str, since: float = 0.0, status: int | None = None) -> list[LoggedRequest]:
        """List the requests to one account, optionally only those since a Unix time or with a status."""
        return [
            entry for entry in self[name].requests if entry.at >= since and (status is None or entry.status == status)
        ]
