"""
LeadMagic as each part of the cluster sees it.

The gates of each mode have a connection of their own, so that their requests can be told apart. Those of deferrable
gates come from the worker (one look each, before they defer) and from the triggerers (one poll for all): there the
connection leads each component to an address of its own. To gates it is one account, as all of them have one balance.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from tests.distributed.canaries import CANARY, SPOKEN_CANARY, STORED_CANARY, WRONG_CANARY
from tests.distributed.cluster import TRIGGERERS
from tests.distributed.gates import AFTER, BEFORE, DEFERRABLE, POKE, RESCHEDULE

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.request_log import LoggedRequest

KEYS = dict.fromkeys((POKE, RESCHEDULE, DEFERRABLE, *TRIGGERERS, "echo", "bulk", "watched"), CANARY) | {
    "stored": STORED_CANARY,
    "spoken": SPOKEN_CANARY,
}
#: Topped up, and out of order, together.
OF_THE_GATES = (POKE, RESCHEDULE, DEFERRABLE, *TRIGGERERS)
ECHO = f'{{"errors": [{{"title": "Key {CANARY} is no good", "detail": "{CANARY}", "action": "Not {CANARY}."}}]}}'


class Accounts:
    """All sandboxes, by the connection that leads to them, or by the triggerer that has one for itself."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.sandboxes = {name: Sandbox(credits=BEFORE, api_key=key) for name, key in KEYS.items()}

    def __enter__(self) -> Self:
        """Start them."""
        with ExitStack() as stack:
            for sandbox in self.sandboxes.values():
                stack.enter_context(sandbox)
            self._stack = stack.pop_all()
        self["echo"].fail_next("*", status=403, body=ECHO, times=None)
        self["bulk"].set_credits(AFTER)
        self["bulk"].bulk_speed(rows_per_second=0.05)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop them."""
        self._stack.close()

    def __getitem__(self, name: str) -> Sandbox:
        """Give one."""
        return self.sandboxes[name]

    def connections(self) -> dict[str, str]:
        """Name the environment variables of all components."""
        kept_elsewhere = {"stored", *TRIGGERERS}
        own = {name: box.connection_json for name, box in self.sandboxes.items() if name not in kept_elsewhere}
        own["wrong_key"] = self[POKE].connection_json.replace(CANARY, WRONG_CANARY)
        return {f"AIRFLOW_CONN_{name.upper()}": connection for name, connection in own.items()}

    def connections_of(self) -> dict[str, dict[str, str]]:
        """Name the environment variables of single components."""
        variable = f"AIRFLOW_CONN_{DEFERRABLE.upper()}"
        return {name: {variable: self[name].connection_json} for name in TRIGGERERS}

    def top_up(self) -> None:
        """Let credits arrive."""
        for name in (*OF_THE_GATES, "watched", "stored"):
            self[name].set_credits(AFTER)

    def break_down(self) -> None:
        """Have LeadMagic answer nothing but 500."""
        for name in OF_THE_GATES:
            self[name].fail_next("*", status=500, times=None)

    def recover(self) -> None:
        """Have it answer again."""
        for name in OF_THE_GATES:
            self[name].clear_faults()

    def looks(self, name: str, since: float = 0.0, status: int | None = None) -> list[LoggedRequest]:
        """List the requests at one address, of one status if that is given."""
        return [
            entry for entry in self[name].requests if entry.at >= since and (status is None or entry.status == status)
        ]
