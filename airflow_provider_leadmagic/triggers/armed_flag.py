"""What a watcher remembers: whether the next crossing counts."""

from __future__ import annotations

import logging
from typing import Any, Protocol

log = logging.getLogger(__name__)

_ARMED, _DISARMED = "armed", "disarmed"


class AssetStateStore(Protocol):
    """What Airflow 3.3+ gives to the trigger of a watcher: it keeps values with the asset, across restarts."""

    async def aget(self, key: str) -> Any: ...
    async def aset(self, key: str, value: Any) -> None: ...


class ArmedFlag:
    """
    The flag, in the asset's state store where there is one, else in memory only.

    :param store: The store; None before Airflow 3.3.
    :param key: Name of the flag in it.
    """

    def __init__(self, store: AssetStateStore | None, key: str) -> None:
        self._store = store
        self._key = key
        self._armed: bool | None = None
        self._is_read = False
        self._is_saved = False

    async def read(self) -> bool | None:
        """Return the flag; None if nothing is known. Raises what the store raises."""
        if not self._is_read:
            self._armed = await self._load()
            self._is_read = True
        return self._armed

    async def write(self, armed: bool) -> None:
        """Set the flag; what the store does not take now it is given again with the next write."""
        self._is_saved = self._is_saved and armed == self._armed
        self._armed, self._is_read = armed, True
        if self._store and not self._is_saved:
            try:
                await self._store.aset(self._key, _ARMED if armed else _DISARMED)
                self._is_saved = True
            except Exception:
                log.exception("Airflow did not take the state of a LeadMagic watcher; it is offered again.")

    async def _load(self) -> bool | None:
        if self._store is None:
            return None
        try:
            saved = await self._store.aget(self._key)
        except ValueError:
            # Equal triggers are one to Airflow, and a store that belongs to several assets can be asked for none.
            log.warning("Two assets have equal LeadMagic watchers: Airflow keeps no state for these over a restart.")
            self._store = None
            return None
        self._is_saved = saved in (_ARMED, _DISARMED)
        return saved == _ARMED if self._is_saved else None
