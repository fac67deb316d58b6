"""Which submits are the same order: the key that lets LeadMagic tell."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def idempotency_key(task_instance: Any, max_tries: int | None = None) -> str:
    """
    Name the one bulk job that a task may order: the same for each of its tries, another after it was cleared.

    Airflow raises ``max_tries`` when a person clears a task; a retry, a lost worker or triggerer leave it alone.
    It may leave it alone, too, when a person clears a task while it runs: see :func:`successor`.

    :param task_instance: The task instance.
    :param max_tries: Its number at another time; by default that of now.
    """
    names = ("dag_id", "run_id", "task_id", "map_index")
    tries = task_instance.max_tries if max_tries is None else max_tries
    return _digest([*(getattr(task_instance, name) for name in names), tries])


def successor(key: str, canceled_job_id: str) -> str:
    """
    Name the job to order in place of a canceled one.

    :param key: The key the canceled job was ordered under.
    :param canceled_job_id: Its id.
    """
    return _digest([key, canceled_job_id])


def _digest(parts: list[object]) -> str:
    # A digest, as LeadMagic need not know how DAGs are called; JSON, as it keeps "a", "bc" and "ab", "c" apart.
    return f"airflow-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]}"
