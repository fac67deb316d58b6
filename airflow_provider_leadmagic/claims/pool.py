"""
Describe the claim of a task: its pool, its place in the DAG, and the arguments that sensor and operator share.

Each LeadMagic account has a pool with one slot. A task occupies the slot while it decides whether it is granted its
credits, so that no two tasks decide at the same time.
"""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.text import describe_value
from airflow_provider_leadmagic.api.validation import check_seconds, check_text
from airflow_provider_leadmagic.compat.metadata import TaskKey
from airflow_provider_leadmagic.decisions.ledger import Claim, SpendingTask

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta
    from decimal import Decimal

#: Prefix of the keys of all Variables with claims.
VARIABLE_PREFIX = "leadmagic_claims_"
#: Airflow's default pool, which a task gets if the DAG file names none.
_DEFAULT_POOL = "default_pool"


@dataclass(frozen=True)
class ClaimSettings:
    """
    Arguments of a task that claims credits.

    :param pool: Name of the claim pool.
    :param settle: Seconds for which a claim still counts after its end.
    :param interval: Seconds between two polls of the task.
    :param release_after: IDs of the downstream tasks after which the claim ends; empty for the whole run.
    """

    pool: str
    settle: float
    interval: float
    release_after: Sequence[str] = ()


def check_claim_arguments(
    claim_pool: str | None,
    claim_settle: timedelta | float,
    task_arguments: dict[str, Any],
    release_after: Sequence[str] | None = None,
) -> None:
    """
    Check the arguments of a task that claims credits, and make the task run in the pool.

    :param claim_pool: Name of the pool.
    :param claim_settle: Seconds, or timedelta, for which a claim still counts after its end.
    :param task_arguments: Arguments of ``BaseOperator``. Their ``pool`` is set to the claim pool.
    :param release_after: IDs of tasks.
    :raises ValueError: If an argument is invalid; the message names it.
    """
    if claim_pool is None:
        raise ValueError("release_after needs claim_pool: without a pool the task claims no credits")
    check_text("claim_pool", claim_pool)
    check_seconds("claim_settle", claim_settle)
    if isinstance(release_after, str) or not all(isinstance(task_id, str) for task_id in release_after or ()):
        raise ValueError(f"release_after must be a list of task IDs; got {describe_value(release_after)}")
    default = (task_arguments.get("default_args") or {}).get("pool", _DEFAULT_POOL)
    pool = task_arguments.get("pool", default)
    if pool not in (claim_pool, default):
        raise ValueError(f"pool must be left out or equal claim_pool {claim_pool!r}; got {describe_value(pool)}")
    task_arguments["pool"] = claim_pool


def check_pool(task: Any, claim_pool: str) -> None:
    """
    Check that the DAG declares that a task uses one slot of the claim pool.

    The pool that the constructor sets is not always used: a mapped task runs in the pool that its ``partial()``
    contains, and a cluster policy can change the pool of any task. A task instance that was created before the DAG file
    was changed may still be in another pool; this is not checked.

    :param task: Operator that runs in this process.
    :param claim_pool: Name of the pool.
    :raises ValueError: If the DAG declares another pool, or ``pool_slots`` is not 1.
    """
    declared = task.get_dag().task_dict[task.task_id]
    if declared.pool != claim_pool:
        advice = f"add pool={claim_pool!r} to the task, or to its partial()"
        raise ValueError(f"pool must equal claim_pool {claim_pool!r}: {advice}; got {declared.pool!r}")
    if declared.pool_slots != 1:
        raise ValueError(f"pool_slots must be 1 with claim_pool; got {declared.pool_slots}")


def variable_key(claim_pool: str) -> str:
    """
    Return the key of the Variable with the claims of a pool.

    :param claim_pool: Name of the pool.
    """
    name = re.sub(r"[^\w.-]", "_", claim_pool, flags=re.ASCII)
    if name != claim_pool or len(name) > 200:  # Airflow 3 puts the key into a URL
        name = f"{name[:200]}-{hashlib.sha256(claim_pool.encode()).hexdigest()[:12]}"
    return f"{VARIABLE_PREFIX}{name}"


def new_claim(task: Any, task_instance: Any, settings: ClaimSettings, credits: Decimal, **fields: Any) -> Claim:
    """
    Return the claim of a running task.

    :param task: Operator that runs in this process.
    :param task_instance: Its task instance.
    :param settings: Arguments of the operator.
    :param credits: Number of credits.
    :param fields: Further fields of the claim.
    :raises ValueError: If the DAG does not declare the claim pool for the task, or ``release_after`` is invalid.
    """
    check_pool(task, settings.pool)
    key = key_of(task_instance)
    return Claim(
        task=key,
        credits=credits,
        since=time.time(),
        attempt=task_instance.try_number,
        conn_id=task.leadmagic_conn_id,
        priority=task.priority_weight,
        patience=2 * settings.interval + 60,
        settle=settings.settle,
        spent_by=spending_tasks(task, key, settings.release_after),
        replaces=_in_same_run(task, key, sorted(_relatives(task, "upstream_task_ids"))),
        **fields,
    )


def key_of(ti: Any) -> TaskKey:
    """Return the key of a task instance that runs in this process."""
    return TaskKey(ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else int(ti.map_index))


def spending_tasks(task: Any, task_key: TaskKey, release_after: Sequence[str]) -> tuple[SpendingTask, ...]:
    """
    Return the tasks after which a claim ends.

    If one of them is in the same mapped task group as the claiming task, only the task with the same index counts.

    :param task: The claiming task.
    :param task_key: Key of its task instance.
    :param release_after: IDs of downstream tasks; empty for the whole run.
    :raises ValueError: If one of them is not downstream of the claiming task.
    """
    downstream = _relatives(task, "downstream_task_ids")
    if missing := [name for name in release_after if name not in downstream]:
        known = f"one or more of {', '.join(map(repr, sorted(downstream)))}" if downstream else "there are none"
        missing_names = ", ".join(map(repr, missing))
        raise ValueError(f"release_after must name tasks downstream of {task.task_id!r} ({known}); got {missing_names}")
    return _in_same_run(task, task_key, release_after)


def _in_same_run(task: Any, task_key: TaskKey, task_ids: Sequence[str]) -> tuple[SpendingTask, ...]:
    group = task.get_closest_mapped_task_group()
    tasks = task.get_dag().task_dict if task_ids else {}
    return tuple(
        SpendingTask(name, task_key.map_index if group and _is_in(tasks[name], group) else None) for name in task_ids
    )


def _is_in(task: Any, group: Any) -> bool:
    closest = task.get_closest_mapped_task_group()
    return closest is not None and closest.group_id == group.group_id


def _relatives(task: Any, direction: str) -> set[str]:
    dag = task.get_dag()
    found: set[str] = set()
    remaining = set(getattr(task, direction))
    while dag is not None and remaining:
        found |= remaining
        remaining = {name for each in remaining for name in getattr(dag.task_dict[each], direction)} - found
    return found
