"""What a watcher remembers: whether the next crossing counts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_leadmagic.compat.task_state import AssetStateStore

log = logging.getLogger(__name__)

_ARMED, _DISARMED = "armed", "disarmed"


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

    async def read(self) -> bool | None:
        """Return the flag; None if nothing is known. Raises what the store raises."""
        if not self._is_read:
            self._armed = await self._load()
            self._is_read = True
        return self._armed

    async def write(self, armed: bool) -> None:
        """Set the flag. Raises what the store raises, and is then as it was."""
        if self._store and armed != self._armed:
            await self._store.aset(self._key, _ARMED if armed else _DISARMED)
        self._armed, self._is_read = armed, True

    async def _load(self) -> bool | None:
        if self._store is None:
            return None
        try:
            saved = await self._store.aget(self._key)
        except ValueError as error:
            if type(error) is not ValueError:  # but one of its kind, such as unreadable JSON
                raise
            # Equal triggers are one to Airflow, and a store that belongs to several assets can be asked for none.
            log.warning("Two assets have equal LeadMagic watchers: Airflow keeps no state for these over a restart.")
            self._store = None
            return None
        return saved == _ARMED if saved in (_ARMED, _DISARMED) else None
