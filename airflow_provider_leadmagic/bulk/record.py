"""What a task remembers of the job it ordered, for its next try."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_leadmagic.compat.task_state import TaskStateStore

#: Renaming it would make tries that are under way forget their job.
_STORE_KEY = "leadmagic_bulk_job"


@dataclass(frozen=True)
class JobRecord:
    """
    A job that was ordered.

    :param job_id: Its id.
    :param idempotency_key: The key it was ordered under.
    :param estimate: The most it could cost, as told before it was ordered.
    """

    job_id: str
    idempotency_key: str
    estimate: Decimal

    def save(self, store: TaskStateStore | None) -> None:
        """
        Keep it, where Airflow can.

        :param store: Where; None before Airflow 3.3.
        """
        if store is not None:
            store.set(_STORE_KEY, self.to_json())

    @classmethod
    def load(cls, store: TaskStateStore | None, idempotency_key: str) -> Self | None:
        """
        Find the job that an earlier try kept.

        :param store: Where to look; None before Airflow 3.3.
        :param idempotency_key: The key of the order. What was kept under another is of the time before a clear.
        """
        kept = store.get(_STORE_KEY) if store is not None else None
        record = cls.from_json(kept) if kept else None
        return record if record and record.idempotency_key == idempotency_key else None

    def to_json(self) -> dict[str, str]:
        """Describe it in plain JSON."""
        return {"job_id": self.job_id, "idempotency_key": self.idempotency_key, "estimate": str(self.estimate)}

    @classmethod
    def from_json(cls, fields: Mapping[str, str]) -> Self:
        """Rebuild the record that :meth:`to_json` described, of this version or of another."""
        return cls(fields["job_id"], fields["idempotency_key"], Decimal(fields["estimate"]))
